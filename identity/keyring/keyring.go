// Package keyring keeps the Ed25519 keys that sign access tokens. They are
// encrypted in a store, decrypted only in memory, and rotated without a restart.
//
// # Records
//
// Keys are numbered, and the number is the record's unique id in the store. So
// when several replicas create the first key, or several operators rotate at once,
// the store's insert lets exactly one win. Records are never changed. A token's kid
// is the key's number and a fingerprint of the public key, so a store that is set
// up from scratch does not reuse kids that verifiers may still have cached.
//
// # The life of a key
//
// A key is published from its creation, signs from SignsAt until its successor
// does, and is retired once the last token it can have signed has expired.
// The time between creation and SignsAt is the lead: it lets every replica and
// every edge fetch the key before they see a token signed with it.
package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"
)

// Record is a signing key as it is stored.
type Record struct {
	ID        string            // the key's number, "1" for the first: the store's unique id
	Public    ed25519.PublicKey // 32 bytes
	Sealed    []byte            // the private key, encrypted and bound to ID and Public
	CreatedAt time.Time         // UTC, milliseconds
	SignsAt   time.Time         // when it may sign first; UTC, milliseconds
	// RetiresAt, when not zero, ends the key at that time, whatever the plan
	// says: it neither signs nor verifies from then on. It is stored as zero and
	// is for an operator who must withdraw a key that leaked.
	RetiresAt time.Time
}

// KeyID returns the kid of tokens signed with this key.
func (r Record) KeyID() string {
	sum := sha256.Sum256(r.Public)
	return r.ID + "-" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// number returns the record's place in the order of keys.
func (r Record) number() (int, bool) {
	n, err := strconv.Atoi(r.ID)
	return n, err == nil && n > 0
}

// withdrawn reports whether an operator has ended the key.
func (r Record) withdrawn(now time.Time) bool {
	return !r.RetiresAt.IsZero() && !now.Before(r.RetiresAt)
}

// Store keeps the records.
//
// Both methods may also return an *unavailable.Error when the store does not answer.
// Implementations pass keyringtest.Run.
type Store interface {
	// Keys returns all records, in any order, read from the primary: none when
	// there are none, which is no error.
	Keys(ctx context.Context) ([]Record, error)

	// AddKey stores a new record, durably, or returns ErrKeyExists when its ID is
	// held; then nothing has changed. Of several concurrent calls with one ID
	// exactly one succeeds.
	AddKey(ctx context.Context, r Record) error
}

// Errors of the package; compare with errors.Is.
var (
	// ErrKeyExists: a record with this ID is stored already.
	ErrKeyExists = errors.New("a signing key of this number exists")
	// ErrSecret: a stored key does not open with this secret. Either the secret
	// is not the one that sealed it, or the record was altered.
	ErrSecret = errors.New("stored signing key does not open with this key secret")
	// ErrNoSigningKey: every key there is has been withdrawn.
	ErrNoSigningKey = errors.New("there is no signing key")
)
