package argon2id

import (
	_ "unsafe" // for go:linkname

	"golang.org/x/crypto/blake2b"
)

// What the library calls these.
const (
	argon2id   = 2 // the mode
	syncPoints = 4
	blockSize  = 1 << 10 // bytes
)

type block [blockSize / 8]uint64

// initHash is H_0 (RFC 9106 section 3.2, step 1), with room for two numbers.
//
//go:linkname initHash golang.org/x/crypto/argon2.initHash
func initHash(password, salt, key, data []byte, time, memory, threads, keyLen uint32, mode int) [blake2b.Size + 8]byte

// blake2bHash is H', the hash of variable length (RFC 9106 section 3.3).
//
//go:linkname blake2bHash golang.org/x/crypto/argon2.blake2bHash
func blake2bHash(out, in []byte)

// processBlocks is steps 5 and 6, over memory that was zero before step 3.
//
//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(blocks []block, time, memory, threads uint32, mode int)

// extractKey is steps 7 and 8.
//
//go:linkname extractKey golang.org/x/crypto/argon2.extractKey
func extractKey(blocks []block, memory, threads, keyLen uint32) []byte
