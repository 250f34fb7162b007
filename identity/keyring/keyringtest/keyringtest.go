// Package keyringtest holds an in-memory keyring.Store and the tests that every
// keyring.Store must pass.
package keyringtest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/keyring"
)

// Store is a keyring.Store in memory. The zero value is empty and ready.
type Store struct {
	mu      sync.Mutex
	records map[string]keyring.Record
	err     error
}

var _ keyring.SealedStore = (*Store)(nil)

// Fail makes every call return err until it is called with nil.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Keys implements keyring.Store.
func (s *Store) Keys(ctx context.Context) ([]keyring.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.err, ctx.Err()); err != nil {
		return nil, err
	}
	var records []keyring.Record
	for _, r := range s.records {
		records = append(records, clone(r))
	}
	return records, nil
}

// AddKey implements keyring.Store.
func (s *Store) AddKey(ctx context.Context, r keyring.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.err, ctx.Err()); err != nil {
		return err
	}
	if _, taken := s.records[r.ID]; taken {
		return keyring.ErrKeyExists
	}
	s.put(r)
	return nil
}

// ReplaceSealed implements keyring.SealedStore.
func (s *Store) ReplaceSealed(ctx context.Context, id string, old, sealed []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.err, ctx.Err()); err != nil {
		return err
	}
	if r, ok := s.records[id]; ok && bytes.Equal(r.Sealed, old) {
		r.Sealed = sealed
		s.put(r)
	}
	return nil
}

// Put stores a record in place of any other of its ID, as an operator or an
// intruder might.
func (s *Store) Put(r keyring.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(r)
}

func (s *Store) put(r keyring.Record) {
	if s.records == nil {
		s.records = map[string]keyring.Record{}
	}
	s.records[r.ID] = clone(r)
}

// Clear removes all records.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = nil
}

func clone(r keyring.Record) keyring.Record {
	r.Public = bytes.Clone(r.Public)
	r.Sealed = bytes.Clone(r.Sealed)
	return r
}

// Run tests the stores that newStore returns, each of them empty.
func Run(t *testing.T, newStore func(t *testing.T) keyring.Store) {
	t.Helper()
	t.Run("an empty store has no keys", func(t *testing.T) {
		records, err := newStore(t).Keys(t.Context())
		if err != nil || len(records) != 0 {
			t.Errorf("Keys = %d records, %v; want none, nil", len(records), err)
		}
	})
	t.Run("what is added is read back", func(t *testing.T) { testReadBack(t, newStore(t)) })
	t.Run("an id is held by the first", func(t *testing.T) { testFirstHolds(t, newStore(t)) })
	t.Run("of concurrent additions one wins", func(t *testing.T) { testOneWins(t, newStore(t)) })
}

func record(id string, fill byte) keyring.Record {
	created := time.Date(2026, 11, 22, 9, 30, 0, 123e6, time.UTC)
	return keyring.Record{
		ID:        id,
		Public:    bytes.Repeat([]byte{fill}, 32),
		Sealed:    bytes.Repeat([]byte{fill + 1}, 72),
		CreatedAt: created,
		SignsAt:   created.Add(10 * time.Minute),
	}
}

func testReadBack(t *testing.T, store keyring.Store) {
	open, ended := record("1", 10), record("2", 20)
	ended.RetiresAt = ended.SignsAt.Add(time.Hour)
	want := map[string]keyring.Record{"1": open, "2": ended}
	for _, r := range want {
		if err := store.AddKey(t.Context(), r); err != nil {
			t.Fatalf("AddKey(%s): %v", r.ID, err)
		}
	}
	got, err := store.Keys(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("Keys = %d records, %v; want %d", len(got), err, len(want))
	}
	for _, r := range got {
		if !equal(r, want[r.ID]) {
			t.Errorf("record %s = %+v, want %+v", r.ID, r, want[r.ID])
		}
	}
}

func equal(a, b keyring.Record) bool {
	return a.ID == b.ID && bytes.Equal(a.Public, b.Public) && bytes.Equal(a.Sealed, b.Sealed) &&
		a.CreatedAt.Equal(b.CreatedAt) && a.SignsAt.Equal(b.SignsAt) &&
		a.RetiresAt.Equal(b.RetiresAt) && a.RetiresAt.IsZero() == b.RetiresAt.IsZero()
}

func testFirstHolds(t *testing.T, store keyring.Store) {
	first, second := record("1", 10), record("1", 20)
	if err := store.AddKey(t.Context(), first); err != nil {
		t.Fatalf("AddKey: %v", err)
	}
	if err := store.AddKey(t.Context(), second); !errors.Is(err, keyring.ErrKeyExists) {
		t.Errorf("second AddKey = %v, want ErrKeyExists", err)
	}
	got, err := store.Keys(t.Context())
	if err != nil || len(got) != 1 || !equal(got[0], first) {
		t.Errorf("Keys = %+v, %v; want the first record alone", got, err)
	}
}

func testOneWins(t *testing.T, store keyring.Store) {
	const writers = 8
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = store.AddKey(t.Context(), record("1", 10)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, keyring.ErrKeyExists):
			t.Errorf("AddKey = %v, want nil or ErrKeyExists", err)
		}
	}
	if won != 1 {
		t.Errorf("%d additions succeeded, want 1", won)
	}
}
