package keyring

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

// margin is how much longer than its last token a key is kept: for the leeway
// of verifiers, and for clocks of replicas that differ.
const margin = 4*time.Minute + token.MaxLeeway

// openKey is a record with its private key.
type openKey struct {
	Record
	kid     string
	private ed25519.PrivateKey
	retired time.Time // when it stops to verify; zero: not foreseen
}

// plan holds the known keys, by number. It is immutable.
type plan []openKey

// newPlan opens the records that are not retired at now. A record that does not
// open is an error: what was not sealed with the secret is never published. One
// that was withdrawn is as if it were not there, so that the key before it goes
// on or returns.
func newPlan(s sealer, records []Record, now time.Time) (plan, error) {
	all, err := schedule(records, now)
	if err != nil {
		return nil, err
	}
	var p plan
	for _, key := range all {
		if key.isRetired(now) {
			continue
		}
		if key.private, err = s.open(key.Record); err != nil {
			return nil, fmt.Errorf("signing key %s: %w", key.ID, err)
		}
		p = append(p, key)
	}
	return p, nil
}

// schedule returns the records in their order, and when each retires. It opens
// none.
func schedule(records []Record, now time.Time) (plan, error) {
	type numbered struct {
		Record
		n int
	}
	var sorted []numbered
	for _, r := range records {
		n, ok := r.number()
		if !ok {
			return nil, fmt.Errorf("signing key %q: id is no number", r.ID)
		}
		sorted = append(sorted, numbered{r, n})
	}
	slices.SortFunc(sorted, func(a, b numbered) int { return a.n - b.n })

	var p plan
	var successor time.Time // the earliest time at which a later key signs
	for _, r := range slices.Backward(sorted) {
		key := openKey{Record: r.Record, kid: r.KeyID(), retired: retirement(r.Record, successor)}
		if !r.withdrawn(now) && (successor.IsZero() || r.SignsAt.Before(successor)) {
			successor = r.SignsAt
		}
		p = append(p, key)
	}
	slices.Reverse(p)
	return p, nil
}

// retirement returns when a key stops to verify, successor being the time from
// which another one signs.
func retirement(r Record, successor time.Time) time.Time {
	planned := time.Time{}
	if !successor.IsZero() {
		planned = successor.Add(token.Lifetime + margin)
	}
	if r.RetiresAt.IsZero() || !planned.IsZero() && planned.Before(r.RetiresAt) {
		return planned
	}
	return r.RetiresAt
}

func (k openKey) isRetired(now time.Time) bool {
	return !k.retired.IsZero() && !now.Before(k.retired)
}

// signer returns the newest key whose SignsAt has passed. When none has,
// because the clock is behind the one of the key's creator or every key before
// was withdrawn, it is the oldest.
func (p plan) signer(now time.Time) (openKey, error) {
	var found *openKey
	for i := range p {
		k := &p[i]
		if k.isRetired(now) {
			continue
		}
		if found == nil || !k.SignsAt.After(now) {
			found = k
		}
	}
	if found == nil {
		return openKey{}, ErrNoSigningKey
	}
	return *found, nil
}

// public returns the keys that verify at now, by kid.
func (p plan) public(now time.Time) map[string]ed25519.PublicKey {
	keys := make(map[string]ed25519.PublicKey, len(p))
	for _, k := range p {
		if !k.isRetired(now) {
			keys[k.kid] = k.Public
		}
	}
	return keys
}

// outdated reports whether every key that was not withdrawn was created age
// ago or longer.
func (p plan) outdated(now time.Time, age time.Duration) bool {
	for _, k := range p {
		if !k.withdrawn(now) && now.Sub(k.CreatedAt) < age {
			return false
		}
	}
	return true
}
