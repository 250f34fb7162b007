// Package argon2id is the Argon2id of golang.org/x/crypto/argon2 (RFC 9106) in
// memory that is used again.
//
// The library takes new memory for every hash, 19 MiB with the parameters of a
// password. To clear it, to fetch its pages and to collect it as garbage takes
// an eighth of a hash, and at any moment as much again waits for the garbage
// collector. It has no way to pass memory in (https://go.dev/issue/36634 asks
// for one), so this package calls the library's own steps by their names, which
// the library does not export. Nothing of Argon2 is written anew here. A version
// of the library without these names does not link. One in which they do
// something else is found by the first New, which compares hashes with the
// library's, and one in which they take something else by a test as well.
//
// When the library can be given memory, this package ends.
package argon2id

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// Memory is the memory of one hash at a time.
type Memory struct {
	blocks []block // zero, but during a hash
}

// New returns memory for hashes of up to kib KiB. It is taken from the system
// by the first hash that uses it, and given back when nobody holds the Memory.
// It fails when the system refuses, and with a version of the library that this
// package does not know.
func New(kib uint32) (*Memory, error) {
	if err := known(); err != nil {
		return nil, err
	}
	mapped, err := reserve(int(kib) * blockSize)
	if err != nil {
		return nil, fmt.Errorf("argon2id: memory of %d KiB: %w", kib, err)
	}
	m := &Memory{blocks: blocksOf(mapped, kib)}
	runtime.AddCleanup(m, release, mapped)
	return m, nil
}

// checkKiB is no multiple of what a hash is divided into.
const checkKiB = 67

// known checks the library once. It does so in memory of Go's: the least that is
// touched of a Memory is a huge page.
var known = sync.OnceValue(func() error {
	return (&Memory{blocks: make([]block, checkKiB)}).check()
})

// check compares two small hashes with the library's. No two numbers are the
// same in both, so that none can be taken for another.
func (m *Memory) check() error {
	password, salt := []byte("password"), []byte("somesaltsomesalt")
	for lanes := uint8(1); lanes <= 2; lanes++ {
		want := argon2.IDKey(password, salt, 3, checkKiB, lanes, 32)
		if !bytes.Equal(m.IDKey(password, salt, 3, checkKiB, lanes, 32), want) {
			return errors.New("argon2id: not the hash of golang.org/x/crypto/argon2: built with a version that this package does not know")
		}
	}
	return nil
}

// IDKey returns what argon2.IDKey returns. It leaves nothing of the password in
// the memory. A hash that needs more than m has is made in memory of its own,
// which is given back with its end.
func (m *Memory) IDKey(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
	lanes := uint32(threads)
	if time < 1 || lanes < 1 || memory < 2*syncPoints*lanes {
		return argon2.IDKey(password, salt, time, memory, threads, keyLen)
	}
	if uint64(memory) > uint64(len(m.blocks)) {
		mapped, err := reserve(int(memory) * blockSize)
		if err != nil {
			return argon2.IDKey(password, salt, time, memory, threads, keyLen)
		}
		defer release(mapped)
		m = &Memory{blocks: blocksOf(mapped, memory)}
	}
	return m.hash(password, salt, time, memory, lanes, keyLen)
}

func (m *Memory) hash(password, salt []byte, time, memory, lanes, keyLen uint32) []byte {
	h0 := initHash(password, salt, nil, nil, time, memory, lanes, keyLen, argon2id)
	memory = memory / (syncPoints * lanes) * (syncPoints * lanes)
	blocks := m.blocks[:memory]
	defer func() {
		clear(blocks)
		runtime.KeepAlive(m) // whose end unmaps the blocks
	}()
	begin(blocks, &h0, lanes)
	processBlocks(blocks, time, memory, lanes, argon2id)
	return extractKey(blocks, memory, lanes, keyLen)
}

// begin fills the first two blocks of every lane (RFC 9106 section 3.2, steps 3
// and 4).
func begin(blocks []block, h0 *[blake2b.Size + 8]byte, lanes uint32) {
	var raw [blockSize]byte
	for lane := range lanes {
		binary.LittleEndian.PutUint32(h0[blake2b.Size+4:], lane)
		first := lane * (uint32(len(blocks)) / lanes) //nolint:gosec // below 2^32
		for i := range uint32(2) {
			binary.LittleEndian.PutUint32(h0[blake2b.Size:], i)
			blake2bHash(raw[:], h0[:])
			for word := range blocks[first+i] {
				blocks[first+i][word] = binary.LittleEndian.Uint64(raw[8*word:])
			}
		}
	}
}
