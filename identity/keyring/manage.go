package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Status says what a key is for at a moment.
type Status string

// The life of a key, see the package.
const (
	StatusPublished Status = "published" // before it signs
	StatusSigning   Status = "signing"
	StatusVerifying Status = "verifying" // its last tokens may be valid
	StatusRetired   Status = "retired"
	StatusWithdrawn Status = "withdrawn"
)

// Listed is a key as it is listed.
type Listed struct {
	Record
	KeyID   string
	Status  Status
	Retires time.Time // when it stops to verify; zero: not foreseen
}

// List returns every key in the store, the first one first. It needs no secret.
func List(ctx context.Context, s Store, now time.Time) ([]Listed, error) {
	records, err := s.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	all, err := schedule(records, now)
	if err != nil {
		return nil, err
	}
	var alive plan
	for _, k := range all {
		if !k.isRetired(now) {
			alive = append(alive, k)
		}
	}
	signing, err := alive.signer(now)
	if err != nil && !errors.Is(err, ErrNoSigningKey) {
		return nil, err
	}
	listed := make([]Listed, len(all))
	for i, k := range all {
		listed[i] = Listed{Record: k.Record, KeyID: k.kid, Status: k.status(signing, now), Retires: k.retired}
	}
	return listed, nil
}

func (k openKey) status(signing openKey, now time.Time) Status {
	switch {
	case k.withdrawn(now):
		return StatusWithdrawn
	case k.isRetired(now):
		return StatusRetired
	case k.ID == signing.ID:
		return StatusSigning
	case k.SignsAt.After(now):
		return StatusPublished
	default:
		return StatusVerifying
	}
}

// SealedStore is a Store whose keys can be sealed anew.
type SealedStore interface {
	Store
	// ReplaceSealed stores another sealed form of the key of this number if the
	// stored one still is old, and does nothing if it is not. It may fail with an
	// *unavailable.Error.
	ReplaceSealed(ctx context.Context, id string, old, sealed []byte) error
}

// Reseal seals every key with another secret and returns how many it did. To
// change the secret while replicas run:
//
//  1. start every replica with the new secret and the old one (--key-secret-file
//     and --key-old-secret-file): it opens what either has sealed;
//  2. reseal;
//  3. start every replica without the old secret, and destroy it.
//
// Nothing is changed unless every key opens with one of the two: ErrSecret else.
// Then the keys are replaced one by one. Each opens with one of the two secrets
// at every moment, and what was interrupted is finished by calling it again. A
// key that is retired and opens with neither is left as it is.
func Reseal(ctx context.Context, s SealedStore, old, secret [SecretSize]byte, now time.Time) (int, error) {
	var none [SecretSize]byte
	if old == none || secret == none || old == secret {
		return 0, errors.New("reseal keys: two different secrets are needed")
	}
	work, err := resealed(ctx, s, old, secret, now)
	if err != nil {
		return 0, fmt.Errorf("reseal keys, nothing was changed: %w", err)
	}
	for i, w := range work {
		if err := s.ReplaceSealed(ctx, w.ID, w.Sealed, w.sealed); err != nil {
			return i, fmt.Errorf("reseal key %s, call again to finish (%d of %d are done): %w", w.ID, i, len(work), err)
		}
	}
	return len(work), nil
}

// resealing is a record and what is to become of its sealed key.
type resealing struct {
	Record
	sealed []byte
}

// resealed returns what has to be replaced, having opened every key.
func resealed(ctx context.Context, s Store, old, secret [SecretSize]byte, now time.Time) ([]resealing, error) {
	next, err := newSealer(secret, old)
	if err != nil {
		return nil, err
	}
	records, err := s.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	all, err := schedule(records, now)
	if err != nil {
		return nil, err
	}
	var work []resealing
	for _, k := range all {
		if _, err := openWith(next.aead, k.Record); err == nil {
			continue // done already
		}
		private, err := next.open(k.Record)
		if err != nil && k.isRetired(now) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.ID, err)
		}
		box, err := next.seal(k.Record, private)
		if err != nil {
			return nil, err
		}
		work = append(work, resealing{k.Record, box})
	}
	return work, nil
}
