// Package password hashes passwords with argon2id (RFC 9106) and keeps them in
// PHC strings, and bounds how many are hashed at once.
//
// A hash takes a core for tens of milliseconds and tens of mebibytes of memory. A
// service that started one for every request would collapse under a few hundred
// logins. So by default there is one slot for each core, with one queue in front of
// them, which is no longer than can be served within the maximum wait. A request
// that finds the queue full is rejected at once, with the time after which to retry.
// The next hash reuses the memory; see package argon2id.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/earlybird/earlybird/identity/password/argon2id"
)

// The shape of a new hash: RFC 9106 section 3.1 recommends 16 bytes of salt,
// and 32 bytes of tag are as strong as the salt and password can make it.
const (
	saltSize = 16
	hashSize = 32
)

// DefaultMaxWait is how long a request waits for its hashes to begin at most.
const DefaultMaxWait = 5 * time.Second

// Config configures a Hasher. The zero value is safe.
type Config struct {
	Params      Params           // of new hashes; zero: DefaultParams
	Concurrency int              // hashes at once; zero: GOMAXPROCS
	MaxWait     time.Duration    // in the queue, for all hashes of a request together; zero: DefaultMaxWait
	Now         func() time.Time // measures hashes; nil: time.Now

	// Observe, if not nil, is called with the time that each hash waited, and the
	// time that it took.
	Observe func(waited, took time.Duration)
}

// Hasher hashes and verifies passwords, no more at once than its gate lets
// through. It is safe for concurrent use.
type Hasher struct {
	params Params
	gate   *gate
	argon2 *argon2id.Hasher
	nobody phc
}

// NewHasher checks the parameters against the OWASP minimum and hashes once:
// to have a hash for users that do not exist, and to learn what a hash costs
// here.
func NewHasher(c Config) (*Hasher, error) {
	if c.Params == (Params{}) {
		c.Params = DefaultParams
	}
	if err := c.Params.Validate(); err != nil {
		return nil, err
	}
	if c.Concurrency < 0 || c.MaxWait < 0 {
		return nil, fmt.Errorf("hash concurrency %d and wait %s must not be negative", c.Concurrency, c.MaxWait)
	}
	if c.Concurrency == 0 {
		c.Concurrency = runtime.GOMAXPROCS(0)
	}
	if c.MaxWait == 0 {
		c.MaxWait = DefaultMaxWait
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	argon2, err := argon2id.New(argon2id.Config{MemoryKiB: c.Params.MemoryKiB, Concurrency: c.Concurrency})
	if err != nil {
		return nil, err
	}
	h := &Hasher{params: c.Params, argon2: argon2}
	start := c.Now()
	h.nobody = h.newPHC(rand.Text())
	h.gate = newGate(c.Concurrency, c.MaxWait, c.Now().Sub(start), c.Now)
	if c.Observe != nil {
		h.gate.observe = c.Observe
	}
	return h, nil
}

// Form returns which form of Argon2id's compression function this processor
// runs: one of argon2id.Forms.
func (h *Hasher) Form() string { return h.argon2.Form() }

// Load returns how many hashes run and how many wait.
func (h *Hasher) Load() (running, waiting int) {
	return len(h.gate.slots), int(h.gate.waiting.Load())
}

// Enter takes a place in the queue for a request, before it asks any store. It
// fails with a *BusyError at once when the request would wait for a hash longer
// than MaxWait. All hashes made with the context it returns begin within MaxWait
// from now, or fail with a *BusyError. Call release after the last of them, and
// as often as is convenient.
func (h *Hasher) Enter(ctx context.Context) (queued context.Context, release func(), err error) {
	return h.gate.enter(ctx)
}

// Hash returns the PHC string of a password under a new salt. It fails with a
// *BusyError when the queue is full, or when no slot was free in time, and with
// the context's error when the caller has gone.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	return h.HashIf(ctx, password, func() error { return nil })
}

// HashIf is Hash for a password that is first judged, which costs too much to
// be done outside of the gate. When admit returns an error, so does HashIf, and
// nothing is hashed.
func (h *Hasher) HashIf(ctx context.Context, password string, admit func() error) (string, error) {
	var made phc
	var refused error
	err := h.gate.do(ctx, func() {
		if refused = admit(); refused == nil {
			made = h.newPHC(password)
		}
	})
	if err := errors.Join(err, refused); err != nil {
		return "", err
	}
	return made.String(), nil
}

// Verify reports whether encoded is the hash of password. It fails as Hash
// does, and with ErrMalformed, before any work, when encoded is not a PHC
// string whose cost is within bounds.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (bool, error) {
	stored, err := parsePHC(encoded)
	if err != nil {
		return false, err
	}
	return h.verify(ctx, stored, password)
}

// VerifyNobody costs what Verify costs and is for users that do not exist:
// without it the time of an answer would tell who does.
func (h *Hasher) VerifyNobody(ctx context.Context, password string) error {
	_, err := h.verify(ctx, h.nobody, password)
	return err
}

// Stale reports whether encoded was made with other parameters than a new hash
// would be, so that the password should be hashed again while it is at hand.
func (h *Hasher) Stale(encoded string) bool {
	stored, err := parsePHC(encoded)
	return err != nil || stored.params != h.params || len(stored.salt) != saltSize || len(stored.hash) != hashSize
}

func (h *Hasher) verify(ctx context.Context, stored phc, password string) (bool, error) {
	var same bool
	err := h.gate.do(ctx, func() {
		same = subtle.ConstantTimeCompare(stored.hash, h.rehash(stored, password)) == 1
	})
	return same && err == nil, err
}

func (h *Hasher) newPHC(password string) phc {
	made := phc{params: h.params, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}
	rand.Read(made.salt) // never fails
	made.hash = h.rehash(made, password)
	return made
}

// rehash hashes password with the salt, parameters and length of p.
func (h *Hasher) rehash(p phc, password string) []byte {
	hash := make([]byte, len(p.hash))
	h.argon2.IDKey(hash, []byte(password), p.salt, p.params.Time, p.params.MemoryKiB, p.params.Parallelism)
	return hash
}
