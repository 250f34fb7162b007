package argon2id

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Apart reports whether the memory is none of Go's: no limit of Go's counts it.
const Apart = true

// hugePage is the size of a transparent huge page where it matters most.
const hugePage = 2 << 20

// reserve maps memory of its own, which the garbage collector does not count:
// what lies there for good would have it let as much garbage come together. In
// huge pages a hash, which jumps about in it, is faster. It is kept out of core dumps.
func reserve(size int) ([]byte, error) {
	mapped, err := unix.Mmap(-1, 0, size+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	// Systems without either are served all the same.
	_ = unix.Madvise(mapped, unix.MADV_DONTDUMP)
	if whole := aligned(mapped)[:size/hugePage*hugePage]; len(whole) > 0 {
		_ = unix.Madvise(whole, unix.MADV_HUGEPAGE)
	}
	return mapped, nil
}

// aligned returns mapped from where the first huge page begins.
func aligned(mapped []byte) []byte {
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(mapped))) //nolint:gosec // only its address
	return mapped[-begin%hugePage:]
}

func blocksOf(mapped []byte, n uint32) []block {
	return unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(aligned(mapped)))), n) //nolint:gosec // n blocks of 1 KiB, at the beginning of a page
}

func release(mapped []byte) { _ = unix.Munmap(mapped) }
