//go:build unix

package ondemand

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// lockFolder takes a lock file for this process, for as long as it lives or until it is closed.
func lockFolder(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another server uses this folder; give each one of its own")
		}
		return nil, err
	}
	return f, nil
}
