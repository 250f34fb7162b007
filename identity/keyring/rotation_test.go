package keyring_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/keyring/keyringtest"
	"github.com/earlybird/earlybird/identity/token"
)

// TestRotation follows two replicas through a rotation that one of them makes.
func TestRotation(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	a, b := open(t, store, clock.Now), open(t, store, clock.Now)
	old := signerKID(t, a)
	clock.pass(time.Hour)
	next := rotate(t, a).KeyID()

	wantPublished(t, a, old, next)
	wantPublished(t, b, old)
	refresh(t, b)
	wantPublished(t, b, old, next)
	clock.pass(10*time.Minute - 1)
	for _, ring := range []*keyring.Ring{a, b} {
		if kid := signerKID(t, ring); kid != old {
			t.Errorf("%s signs before its time", kid)
		}
	}
	clock.pass(1)
	for _, ring := range []*keyring.Ring{a, b} {
		if kid := signerKID(t, ring); kid != next {
			t.Errorf("%s signs, want %s", kid, next)
		}
	}
	clock.pass(token.Lifetime + token.MaxLeeway)
	wantPublished(t, a, old, next) // the last token of the old key has just expired
	clock.pass(4 * time.Minute)
	wantPublished(t, a, next)
	if _, err := a.PublicKey(old); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("retired key: %v, want ErrUnknownKey", err)
	}
	refresh(t, b)
	wantPublished(t, b, next)
}

// TestTokensSurviveRotation verifies, through a rotation, every token that has
// not expired.
func TestTokensSurviveRotation(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring := open(t, store, clock.Now)
	issuer := token.NewIssuer(token.IssuerConfig{Issuer: "i", Audience: "a", ClientID: "c", Key: ring.Signer, Now: clock.Now})
	verifier, err := token.NewVerifier(token.VerifierConfig{Issuer: "i", Keys: ring, Now: clock.Now})
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	issued := map[string]time.Time{}
	for minute := range 120 {
		if minute == 20 || minute == 23 { // the second before the first signs
			rotate(t, ring)
		}
		raw, claims, err := issuer.Issue("user", 0)
		if err != nil {
			t.Fatalf("Issue: %v", err)
		}
		issued[raw] = claims.Expires
		for raw, expires := range issued {
			_, err := verifier.Verify(raw, token.Demand{Audience: "a"})
			if live := clock.Now().Before(expires); live != (err == nil) {
				t.Fatalf("minute %d: token that expires at %v: %v", minute, expires, err)
			}
			if err != nil {
				delete(issued, raw)
			}
		}
		clock.pass(time.Minute)
	}
	if kid := signerKID(t, ring); !strings.HasPrefix(kid, "3-") {
		t.Errorf("%s signs in the end, want the third key", kid)
	}
	if n := ring.JWKS().Len(); n != 1 {
		t.Errorf("%d keys published in the end, want 1", n)
	}
}

// TestRotationByAClockBehind makes a third key that signs before the second: the
// first then signs no longer than until the third does.
func TestRotationByAClockBehind(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring := open(t, store, clock.Now)
	rotate(t, ring)
	behind := open(t, store, func() time.Time { return clock.Now().Add(-2 * time.Minute) })
	third := rotate(t, behind).KeyID()
	refresh(t, ring)
	clock.pass(8 * time.Minute)
	if kid := signerKID(t, ring); kid != third {
		t.Errorf("%s signs, want the third key", kid)
	}
	clock.pass(token.Lifetime + 5*time.Minute)
	wantPublished(t, ring, third)
}

func TestRotateByTwoAtOnce(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	open(t, store, clock.Now) // the first key is there
	// Both read the store before either writes to it.
	both := &barrier{Store: store, readers: 2}
	both.cond = sync.NewCond(&both.mu)
	errs := make([]error, both.readers)
	var wg sync.WaitGroup
	for i := range errs {
		ring := open(t, &switched{Store: store, then: both}, clock.Now)
		wg.Go(func() { _, errs[i] = ring.Rotate(t.Context()) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), keyring.ErrKeyExists) {
		t.Errorf("Rotate = %v and %v, want one ErrKeyExists", errs[0], errs[1])
	}
	if records, _ := store.Keys(t.Context()); len(records) != 2 {
		t.Errorf("%d keys stored, want 2", len(records))
	}
}

// switched reads from one store first, then from another.
type switched struct {
	keyring.Store
	then keyring.Store
}

func (s *switched) Keys(ctx context.Context) ([]keyring.Record, error) {
	records, err := s.Store.Keys(ctx)
	s.Store = s.then
	return records, err
}

// barrier holds readers until all have read.
type barrier struct {
	keyring.Store
	mu      sync.Mutex
	cond    *sync.Cond
	readers int
}

func (b *barrier) Keys(ctx context.Context) ([]keyring.Record, error) {
	records, err := b.Store.Keys(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers--
	b.cond.Broadcast()
	for b.readers > 0 {
		b.cond.Wait()
	}
	return records, err
}

func TestWithdrawnKey(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring := open(t, store, clock.Now)
	first := signerKID(t, ring)
	second := rotate(t, ring)
	clock.pass(10 * time.Minute)
	if kid := signerKID(t, ring); kid != second.KeyID() {
		t.Fatalf("%s signs, want the second key", kid)
	}
	second.RetiresAt = clock.Now()
	store.Put(second)
	refresh(t, ring)
	wantPublished(t, ring, first)
	if kid := signerKID(t, ring); kid != first {
		t.Errorf("%s signs, want the first key again", kid)
	}
	clock.pass(time.Hour)
	if kid := signerKID(t, ring); kid != first {
		t.Errorf("%s signs an hour later, want the first key still", kid)
	}
}

func TestRotateWhenEveryKeyIsWithdrawn(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring := open(t, store, clock.Now)
	records, _ := store.Keys(t.Context())
	records[0].RetiresAt = clock.Now()
	store.Put(records[0])
	refresh(t, ring)
	if _, _, err := ring.Signer(); !errors.Is(err, keyring.ErrNoSigningKey) {
		t.Errorf("Signer = %v, want ErrNoSigningKey", err)
	}
	if kid, want := rotate(t, ring).KeyID(), signerKID(t, ring); kid != want {
		t.Errorf("%s signs, want %s at once", want, kid)
	}
}
