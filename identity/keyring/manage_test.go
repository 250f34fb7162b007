package keyring_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/keyring/keyringtest"
)

var oldSecret, newSecret = [keyring.SecretSize]byte{1}, [keyring.SecretSize]byte{2}

// with opens a ring with these secrets.
func with(t *testing.T, store keyring.Store, clock func() time.Time, secret, old [keyring.SecretSize]byte) (*keyring.Ring, error) {
	t.Helper()
	return keyring.Open(t.Context(), keyring.Config{
		Store: store, Secret: secret, OldSecret: old, Now: clock, Log: slog.New(slog.DiscardHandler),
	})
}

// The secret is changed while replicas run: one with both secrets signs at
// every step, and afterwards the new one is enough and the old one is not.
func TestReseal(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	first, err := with(t, store, clock.Now, oldSecret, [keyring.SecretSize]byte{})
	if err != nil {
		t.Fatal(err)
	}
	kid := signerKID(t, first)
	both, err := with(t, store, clock.Now, newSecret, oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	rotate(t, both) // sealed with the new one already
	if n, err := keyring.Reseal(t.Context(), store, oldSecret, newSecret, clock.Now()); n != 1 || err != nil {
		t.Fatalf("%d keys resealed, %v; want 1", n, err)
	}
	refresh(t, both)
	after, err := with(t, store, clock.Now, newSecret, [keyring.SecretSize]byte{})
	if err != nil {
		t.Fatal(err)
	}
	for name, ring := range map[string]*keyring.Ring{"both": both, "after": after} {
		if got := signerKID(t, ring); got != kid {
			t.Errorf("%s signs with %s, want %s", name, got, kid)
		}
	}
	if _, err := with(t, store, clock.Now, oldSecret, [keyring.SecretSize]byte{}); !errors.Is(err, keyring.ErrSecret) {
		t.Errorf("the old secret: %v, want ErrSecret", err)
	}
	if n, err := keyring.Reseal(t.Context(), store, oldSecret, newSecret, clock.Now()); n != 0 || err != nil {
		t.Errorf("again: %d keys resealed, %v; want none", n, err)
	}
}

// failing replaces so many keys and no more.
type failing struct {
	*keyringtest.Store
	left int
}

func (f *failing) ReplaceSealed(ctx context.Context, id string, old, sealed []byte) error {
	if f.left--; f.left < 0 {
		return errors.New("gone")
	}
	return f.Store.ReplaceSealed(ctx, id, old, sealed)
}

func TestResealInterrupted(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring, err := with(t, store, clock.Now, oldSecret, [keyring.SecretSize]byte{})
	if err != nil {
		t.Fatal(err)
	}
	rotate(t, ring)
	rotate(t, ring)
	if n, err := keyring.Reseal(t.Context(), &failing{store, 1}, oldSecret, newSecret, clock.Now()); n != 1 || err == nil {
		t.Fatalf("%d keys resealed, %v; want 1 and an error", n, err)
	}
	if _, err := with(t, store, clock.Now, newSecret, oldSecret); err != nil {
		t.Errorf("with both secrets: %v", err)
	}
	if n, err := keyring.Reseal(t.Context(), store, oldSecret, newSecret, clock.Now()); n != 2 || err != nil {
		t.Errorf("again: %d keys resealed, %v; want 2", n, err)
	}
}

func TestResealChangesNothing(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	if _, err := with(t, store, clock.Now, oldSecret, [keyring.SecretSize]byte{}); err != nil {
		t.Fatal(err)
	}
	wrong := [keyring.SecretSize]byte{9}
	if n, err := keyring.Reseal(t.Context(), store, wrong, newSecret, clock.Now()); n != 0 || !errors.Is(err, keyring.ErrSecret) {
		t.Errorf("with a wrong old secret: %d, %v; want ErrSecret", n, err)
	}
	for _, same := range [][2][keyring.SecretSize]byte{{oldSecret, oldSecret}, {{}, newSecret}, {oldSecret, {}}} {
		if _, err := keyring.Reseal(t.Context(), store, same[0], same[1], clock.Now()); err == nil {
			t.Error("secrets that make no sense were accepted")
		}
	}
	if _, err := with(t, store, clock.Now, oldSecret, [keyring.SecretSize]byte{}); err != nil {
		t.Errorf("the old secret: %v", err)
	}
}

func TestList(t *testing.T) {
	store, clock := &keyringtest.Store{}, newClock()
	ring := open(t, store, clock.Now)
	want := func(statuses ...keyring.Status) {
		t.Helper()
		all, err := keyring.List(t.Context(), store, clock.Now())
		if err != nil || len(all) != len(statuses) {
			t.Fatalf("%+v, %v; want %v", all, err, statuses)
		}
		for i, k := range all {
			if k.Status != statuses[i] || k.KeyID != k.Record.KeyID() {
				t.Errorf("key %s is %s, want %s", k.ID, k.Status, statuses[i])
			}
		}
	}
	want(keyring.StatusSigning)
	rotate(t, ring)
	want(keyring.StatusSigning, keyring.StatusPublished)
	clock.pass(11 * time.Minute)
	want(keyring.StatusVerifying, keyring.StatusSigning)
	clock.pass(time.Hour)
	want(keyring.StatusRetired, keyring.StatusSigning)
}

// Of several replicas that find the key too old, one rotates.
func TestRotationByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 4 {
			ring, err := keyring.Open(ctx, keyring.Config{
				Store: store, Secret: oldSecret, MaxAge: 90 * 24 * time.Hour, Refresh: time.Hour, Lead: 2 * time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { _ = ring.Run(ctx) })
		}
		want := func(when string, n int) {
			t.Helper()
			synctest.Wait()
			if keys, err := store.Keys(ctx); err != nil || len(keys) != n {
				t.Errorf("%s: %d keys, %v; want %d", when, len(keys), err, n)
			}
		}
		time.Sleep(90*24*time.Hour - time.Minute)
		want("before its time", 1)
		time.Sleep(2 * time.Hour)
		want("after", 2)
		time.Sleep(24 * time.Hour)
		want("a day later", 2)
		time.Sleep(90 * 24 * time.Hour)
		want("90 days later", 3)
		stop()
		running.Wait()
	})
}
