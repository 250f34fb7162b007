// Package argon2id implements Argon2id version 1.3 (RFC 9106) with AVX-512 and
// AVX2, and reuses its memory.
//
// A hash is nearly the whole cost of a login. golang.org/x/crypto/argon2 allocates
// new memory for each hash, 19 MiB with the default parameters, and uses no
// instructions newer than SSE4.1; this package makes two hashes in the time of one
// of x/crypto's. Only the compression function has several forms: assembly, which
// gen writes, and portable Go. BLAKE2b comes from x/crypto, and New checks one hash
// against x/crypto's. The build tag purego leaves the assembly out.
package argon2id

//go:generate go -C gen run . -pkg argon2id -out ../compress_amd64.s -stubs ../compress_amd64.go

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// Config configures a Hasher.
type Config struct {
	MemoryKiB   uint32 // of the hashes that need no new memory
	Concurrency int    // hashes at once
	Form        string // one of Forms; empty: the fastest
}

// Hasher makes hashes. It owns the memory of Concurrency hashes, which is zero
// but during a hash. It is safe for concurrent use.
type Hasher struct {
	form form

	mu    sync.Mutex
	given sync.Cond
	free  []*memory
}

// New returns a Hasher. It fails when the form is not one of Forms, and when
// the form does not compute the hash of golang.org/x/crypto/argon2.
func New(c Config) (*Hasher, error) { return newOf(c, forms()) }

func newOf(c Config, all []form) (*Hasher, error) {
	if c.MemoryKiB < 1 || c.Concurrency < 1 {
		return nil, fmt.Errorf("argon2id: %d KiB for each of %d hashes at once: both must be at least 1", c.MemoryKiB, c.Concurrency)
	}
	chosen := slices.IndexFunc(all, func(f form) bool { return c.Form == "" || c.Form == f.name })
	if chosen < 0 {
		return nil, fmt.Errorf("argon2id: no form %q of the compression function on this processor; it has %q", c.Form, Forms())
	}
	h := &Hasher{form: all[chosen]}
	h.given.L = &h.mu
	for range c.Concurrency {
		h.free = append(h.free, newMemory(c.MemoryKiB))
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	return h, nil
}

// Form returns the form of the compression function that h uses.
func (h *Hasher) Form() string { return h.form.name }

// check compares a hash with x/crypto's: of two lanes and two passes, with
// segments of more than the 128 blocks that share a block of addresses.
func (h *Hasher) check() error {
	const passes, kib, lanes = 2, 1100, 2
	password, salt := []byte("password"), []byte("somesaltsomesalt")
	key := make([]byte, 32)
	h.IDKey(key, password, salt, passes, kib, lanes)
	if !bytes.Equal(key, argon2.IDKey(password, salt, passes, kib, lanes, 32)) {
		return fmt.Errorf("argon2id: the form %s does not compute the hash of golang.org/x/crypto/argon2 on this processor", h.form.name)
	}
	return nil
}

// IDKey fills key, 4 to 64 bytes, with what argon2.IDKey of golang.org/x/crypto
// returns for the same parameters. It panics, before it takes memory, when they
// are not those of RFC 9106 section 3.1: at least one pass, one lane, and 8 KiB
// for each lane. The lanes are computed one after the other.
//
// A hash that needs more than Config.MemoryKiB is made in new memory, which is
// garbage afterwards. IDKey waits while Config.Concurrency hashes run.
func (h *Hasher) IDKey(key, password, salt []byte, passes, kib uint32, lanes uint8) {
	h.hash(key, inputs{password: password, salt: salt}, params{passes, kib, uint32(lanes)})
}

// inputs are P, S, K and X of RFC 9106 section 3.1.
type inputs struct{ password, salt, secret, data []byte }

// params are t, m and p of RFC 9106 section 3.1.
type params struct{ passes, kib, lanes uint32 }

func (h *Hasher) hash(key []byte, in inputs, p params) {
	if p.passes < 1 || p.lanes < 1 || p.kib < 2*syncPoints*p.lanes || len(key) < 4 || len(key) > blake2b.Size {
		panic(fmt.Sprintf("argon2id: %d passes over %d KiB in %d lanes for %d bytes: must be at least 1, 8 KiB for each lane, 1, and 4 to 64 bytes",
			p.passes, p.kib, p.lanes, len(key)))
	}
	m := h.take()
	defer h.give(m)
	m.hash(key, in, p, h.form.compress)
}

// take returns the memory that was given last: what never ran at the same time
// takes no memory of the system's.
func (h *Hasher) take() *memory {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.free) == 0 {
		h.given.Wait()
	}
	last := len(h.free) - 1
	m := h.free[last]
	h.free = h.free[:last]
	return m
}

func (h *Hasher) give(m *memory) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free = append(h.free, m)
	h.given.Signal()
}
