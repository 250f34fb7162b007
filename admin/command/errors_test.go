package command

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestUnread: `earlybird campaign winners | head -1` is no failure to tell of; a
// server that hangs up is.
func TestUnread(t *testing.T) {
	tests := []struct {
		name string
		err  error
		says bool
	}{
		{"head has seen enough", fmt.Errorf("write table: %w", &fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.EPIPE}), false},
		{"the disk is full", &fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}, true},
		{"a server hung up", &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said strings.Builder
			if status := report(&said, tt.err, false); status != exitFailed || (said.Len() > 0) != tt.says {
				t.Errorf("status %d, said %q", status, said.String())
			}
		})
	}
}
