// Package filelock is a mutual exclusion of processes by a lock on a file. The
// operating system releases the lock when its holder ends, even by kill -9.
package filelock

import (
	"errors"
	"fmt"
	"os"
)

// ErrHeld reports that another process, or another Lock of this one, holds the
// lock.
var ErrHeld = errors.New("the lock is held by another process")

// A Lock is held until Release.
type Lock struct{ file *os.File }

// Acquire waits for the lock on the file at path, which it creates with mode
// 0600 when there is none.
func Acquire(path string) (*Lock, error) { return take(path, true) }

// TryAcquire takes the lock or answers [ErrHeld] at once.
func TryAcquire(path string) (*Lock, error) { return take(path, false) }

func take(path string, wait bool) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := lock(file, wait); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{file: file}, nil
}

// Release gives the lock up. The file stays, for the next holder.
func (l *Lock) Release() error { return l.file.Close() }
