// Package memstore is an in-memory account.Store, for tests of code that uses one.
package memstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
)

var _ account.AdminStore = (*Store)(nil)

// Store keeps accounts in maps. It is safe for concurrent use.
type Store struct {
	mu          sync.Mutex
	users       map[string]account.User       // by id
	credentials map[string]account.Credential // by canonical username
	attempts    []account.Attempt
	issues      map[string][]enrolment.Issue // by customer, in the order of their numbers
	claims      map[string]enrolment.Claim   // by customer
}

// New returns an empty store.
func New() *Store {
	return &Store{
		users: map[string]account.User{}, credentials: map[string]account.Credential{},
		issues: map[string][]enrolment.Issue{}, claims: map[string]enrolment.Claim{},
	}
}

// CreateUser implements account.Store.
func (s *Store) CreateUser(ctx context.Context, u account.User, c account.Credential) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("create user: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, ok := s.credentials[c.Canonical]; ok {
		if held.UserID == c.UserID {
			return nil
		}
		return account.ErrUsernameTaken
	}
	s.users[u.ID], s.credentials[c.Canonical] = u, c
	return nil
}

// Credential implements account.Store.
func (s *Store) Credential(ctx context.Context, canonical string) (account.Credential, error) {
	if err := ctx.Err(); err != nil {
		return account.Credential{}, fmt.Errorf("credential: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.credentials[canonical]
	if !ok {
		return account.Credential{}, account.ErrNotFound
	}
	return c, nil
}

// ReplacePassword implements account.Store.
func (s *Store) ReplacePassword(ctx context.Context, canonical, old, phc string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("replace password: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.credentials[canonical]
	if !ok {
		return account.ErrNotFound
	}
	if c.Password == old {
		c.Password = phc
		s.credentials[canonical] = c
	}
	return nil
}

// ReplaceCredential implements account.Store.
func (s *Store) ReplaceCredential(ctx context.Context, old, next account.Credential) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("replace credential: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.credentials[old.Canonical]
	switch {
	case !ok:
		return account.ErrNotFound
	case held == old:
		s.credentials[old.Canonical] = next
	case held != next:
		return account.ErrChanged
	}
	return nil
}

// User implements account.Store.
func (s *Store) User(ctx context.Context, id string) (account.User, error) {
	if err := ctx.Err(); err != nil {
		return account.User{}, fmt.Errorf("user: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[id]
	if !ok {
		return account.User{}, account.ErrNotFound
	}
	return u, nil
}

// RecordAttempt implements account.Store.
func (s *Store) RecordAttempt(ctx context.Context, a account.Attempt) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("record attempt: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, a)
	return nil
}

// Attempts returns every attempt recorded, oldest first.
func (s *Store) Attempts() []account.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts)
}

// LatestAttempts implements account.AdminStore.
func (s *Store) LatestAttempts(ctx context.Context, userID string, n int) ([]account.Attempt, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("latest attempts: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []account.Attempt
	for _, a := range slices.Backward(s.attempts) {
		if a.UserID == userID {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b account.Attempt) int { return b.At.Compare(a.At) })
	return found[:min(n, len(found))], nil
}

// PruneAttempts forgets the attempts before a time.
func (s *Store) PruneAttempts(ctx context.Context, before time.Time) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("prune attempts: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = slices.DeleteFunc(s.attempts, func(a account.Attempt) bool { return a.At.Before(before) })
	return nil
}

// Disable marks the account of a canonical username as disabled or not.
func (s *Store) Disable(canonical string, disabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.credentials[canonical]; ok {
		c.Disabled = disabled
		s.credentials[canonical] = c
	}
}
