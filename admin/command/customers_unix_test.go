//go:build unix

package command

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestCustomersOfAPipe: a pipe is refused, and not waited for.
func TestCustomersOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := openCustomers(path); err == nil {
		f.close()
		t.Error("it is taken")
	}
}
