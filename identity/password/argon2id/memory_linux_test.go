package argon2id

import (
	"bytes"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// New touches nothing of the memory, which may be for hashes that never come.
// Checked by a New that makes a hash in it.
func TestNewTouchesNothing(t *testing.T) {
	m := newMemory(t, 4096)
	resident := make([]byte, 4<<20/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m.blocks[0])), 4<<20, uintptr(unsafe.Pointer(&resident[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	if n := bytes.Count(resident, []byte{1}); n > 0 {
		t.Errorf("%d pages are in memory", n)
	}
	runtime.KeepAlive(m)
}
