//go:build !race

package narfile_test

const raceDetector = false
