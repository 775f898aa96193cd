//go:build !unix

package ondemand

import (
	"io"
	"os"
)

// lockFolder only makes the file: here nothing keeps two servers from one folder.
func lockFolder(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
