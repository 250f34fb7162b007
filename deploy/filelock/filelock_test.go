package filelock_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/earlybird/earlybird/deploy/filelock"
)

func TestLockKeepsOthersOutUntilReleased(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file locks in the standard library on Windows")
	}
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.TryAcquire(path); !errors.Is(err, filelock.ErrHeld) {
		t.Fatalf("TryAcquire while held: %v, want ErrHeld", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := filelock.TryAcquire(path)
	if err != nil {
		t.Fatalf("TryAcquire after Release: %v", err)
	}
	_ = second.Release()
}
