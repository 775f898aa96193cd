//go:build race

package narfile_test

// raceDetector: a sync.Pool drops what it is given at random then.
const raceDetector = true
