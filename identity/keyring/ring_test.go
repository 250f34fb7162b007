package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/keyring/keyringtest"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func TestMemoryStore(t *testing.T) {
	keyringtest.Run(t, func(*testing.T) keyring.Store { return &keyringtest.Store{} })
}

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// clock is a clock that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func secret(fill byte) (s [keyring.SecretSize]byte) {
	copy(s[:], bytes.Repeat([]byte{fill}, len(s)))
	return s
}

func config(store keyring.Store, now func() time.Time) keyring.Config {
	return keyring.Config{Store: store, Secret: secret(7), Now: now, Log: slog.New(slog.DiscardHandler)}
}

func open(t *testing.T, store keyring.Store, now func() time.Time) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Open(t.Context(), config(store, now))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return ring
}

func signerKID(t *testing.T, ring *keyring.Ring) string {
	t.Helper()
	kid, key, err := ring.Signer()
	if err != nil {
		t.Fatalf("Signer: %v", err)
	}
	public, err := ring.PublicKey(kid)
	if err != nil || !public.Equal(key.Public()) {
		t.Fatalf("the signing key %s is not among the public ones: %v", kid, err)
	}
	if published, err := ring.JWKS().PublicKey(kid); err != nil || !published.Equal(public) {
		t.Fatalf("the signing key %s is not published: %v", kid, err)
	}
	return kid
}

func rotate(t *testing.T, ring *keyring.Ring) keyring.Record {
	t.Helper()
	r, err := ring.Rotate(t.Context())
	if err != nil {
		t.Fatalf("Rotate: %v", err)
	}
	return r
}

func refresh(t *testing.T, ring *keyring.Ring) {
	t.Helper()
	if err := ring.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh: %v", err)
	}
}

func wantPublished(t *testing.T, ring *keyring.Ring, kids ...string) {
	t.Helper()
	set := ring.JWKS()
	if set.Len() != len(kids) {
		t.Errorf("%d keys published, want %d: %s", set.Len(), len(kids), set.JSON())
	}
	for _, kid := range kids {
		if _, err := set.PublicKey(kid); err != nil {
			t.Errorf("key %s is not published: %v", kid, err)
		}
		if _, err := ring.PublicKey(kid); err != nil {
			t.Errorf("key %s does not verify: %v", kid, err)
		}
	}
}

func TestOpenCreatesTheFirstKeyOnce(t *testing.T) {
	store := &keyringtest.Store{}
	first := signerKID(t, open(t, store, newClock().Now))
	again := signerKID(t, open(t, store, newClock().Now))
	if first != again || !strings.HasPrefix(first, "1-") {
		t.Errorf("kids %s and %s, want one that starts with 1-", first, again)
	}
}

func TestOpenBySeveralReplicasAgrees(t *testing.T) {
	store := &keyringtest.Store{}
	const replicas = 8
	kids := make([]string, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() { kids[i] = signerKID(t, open(t, store, newClock().Now)) })
	}
	wg.Wait()
	for _, kid := range kids {
		if kid != kids[0] {
			t.Errorf("replicas sign with %v, want one key", kids)
		}
	}
}

// TestOpenLosesTheRace sees an empty store, and then the key of another replica.
func TestOpenLosesTheRace(t *testing.T) {
	store := &keyringtest.Store{}
	winner := signerKID(t, open(t, store, newClock().Now))
	loser := open(t, &switched{Store: &keyringtest.Store{}, then: store}, newClock().Now)
	if kid := signerKID(t, loser); kid != winner {
		t.Errorf("%s signs, want the key %s that was first", kid, winner)
	}
}

func TestANewStoreReusesNoKid(t *testing.T) {
	a := signerKID(t, open(t, &keyringtest.Store{}, newClock().Now))
	b := signerKID(t, open(t, &keyringtest.Store{}, newClock().Now))
	if a == b {
		t.Errorf("two stores' first keys share the kid %s", a)
	}
}

func TestOpenFails(t *testing.T) {
	lost := unavailable.New("mongodb", "read keys", errors.New("no primary"))
	tests := []struct {
		name   string
		change func(*keyring.Config, *keyringtest.Store)
		want   error
	}{
		{"another secret", func(c *keyring.Config, _ *keyringtest.Store) { c.Secret = secret(8) }, keyring.ErrSecret},
		{"store down", func(_ *keyring.Config, s *keyringtest.Store) { s.Fail(lost) }, lost},
		{"sealed key altered", altered(func(r *keyring.Record) { r.Sealed[30] ^= 1 }), keyring.ErrSecret},
		{"nonce altered", altered(func(r *keyring.Record) { r.Sealed[0] ^= 1 }), keyring.ErrSecret},
		{"sealed key cut", altered(func(r *keyring.Record) { r.Sealed = r.Sealed[:10] }), keyring.ErrSecret},
		{"sealed key missing", altered(func(r *keyring.Record) { r.Sealed = nil }), keyring.ErrSecret},
		{"public key exchanged", altered(func(r *keyring.Record) { r.Public[0] ^= 1 }), keyring.ErrSecret},
		{"record moved to another number", altered(func(r *keyring.Record) { r.ID = "2" }), keyring.ErrSecret},
		{"an intruder's key beside", altered(func(r *keyring.Record) {
			r.ID, r.Public = "2", ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
		}), keyring.ErrSecret},
		{"an id that is no number", altered(func(r *keyring.Record) { r.ID = "x" }), nil},
		{"an id with a zero before", altered(func(r *keyring.Record) { r.ID = "01" }), keyring.ErrSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := &keyringtest.Store{}
			open(t, store, newClock().Now)
			cfg := config(store, newClock().Now)
			tt.change(&cfg, store)
			ring, err := keyring.Open(t.Context(), cfg)
			if err == nil || ring != nil {
				t.Fatalf("Open = %v, %v; want an error", ring, err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
}

// altered changes the stored key as somebody with access to the store, but not
// to the secret, could.
func altered(change func(*keyring.Record)) func(*keyring.Config, *keyringtest.Store) {
	return func(_ *keyring.Config, store *keyringtest.Store) {
		records, _ := store.Keys(context.Background())
		change(&records[0])
		store.Put(records[0])
	}
}

func TestOpenWithoutASecret(t *testing.T) {
	if _, err := keyring.Open(t.Context(), keyring.Config{Store: &keyringtest.Store{}}); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("Open = %v, want it refused", err)
	}
}

func TestSignerWithAClockBehind(t *testing.T) {
	store := &keyringtest.Store{}
	ahead := signerKID(t, open(t, store, newClock().Now))
	behind := open(t, store, func() time.Time { return start.Add(-time.Minute) })
	if kid := signerKID(t, behind); kid != ahead {
		t.Errorf("%s signs, want %s", kid, ahead)
	}
}

func TestRefreshKeepsWhatItHas(t *testing.T) {
	tests := []struct {
		name   string
		change func(*keyringtest.Store)
	}{
		{"store down", func(s *keyringtest.Store) { s.Fail(errors.New("no primary")) }},
		{"store emptied", func(s *keyringtest.Store) { s.Clear() }},
		{"a key of another secret", func(s *keyringtest.Store) {
			s.Put(keyring.Record{ID: "2", Public: make([]byte, 32), Sealed: make([]byte, 72), SignsAt: start})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := &keyringtest.Store{}
			ring := open(t, store, newClock().Now)
			kid := signerKID(t, ring)
			tt.change(store)
			if err := ring.Refresh(t.Context()); err == nil {
				t.Error("Refresh = nil, want an error")
			}
			if again := signerKID(t, ring); again != kid {
				t.Errorf("%s signs, want %s", again, kid)
			}
			wantPublished(t, ring, kid)
		})
	}
}

func TestRunLearnsOfARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		ring, other := open(t, store, time.Now), open(t, store, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- ring.Run(ctx) }()
		old := signerKID(t, ring)
		store.Fail(errors.New("no primary"))
		time.Sleep(time.Minute)
		store.Fail(nil)
		next := rotate(t, other).KeyID()
		time.Sleep(31 * time.Second)
		wantPublished(t, ring, old, next)
		time.Sleep(10 * time.Minute)
		if kid := signerKID(t, ring); kid != next {
			t.Errorf("%s signs, want %s", kid, next)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestSealedKeysDiffer(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring := open(t, store, clock.Now)
	rotate(t, ring)
	records, _ := store.Keys(t.Context())
	_, private, _ := ring.Signer()
	for _, r := range records {
		if len(r.Sealed) != 24+32+16 {
			t.Errorf("key %s: sealed in %d bytes, want nonce, seed and tag: 72", r.ID, len(r.Sealed))
		}
		if bytes.Contains(r.Sealed, private.Seed()) {
			t.Errorf("key %s is stored in the clear", r.ID)
		}
	}
	if bytes.Equal(records[0].Sealed[:24], records[1].Sealed[:24]) {
		t.Error("two keys share a nonce")
	}
}
