//go:build !linux

package argon2id

import "unsafe"

// Apart reports whether the memory is none of Go's: no limit of Go's counts it.
const Apart = false

func reserve(size int) ([]byte, error) { return make([]byte, size), nil }

func blocksOf(mapped []byte, n uint32) []block {
	return unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(mapped))), n) //nolint:gosec // n blocks of 1 KiB, aligned as large objects are
}

func release([]byte) {}
