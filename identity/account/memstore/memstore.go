// Package memstore is an in-memory account.Store, for tests of code that uses one.
package memstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
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

// AttemptsOf implements account.AdminStore.
func (s *Store) AttemptsOf(ctx context.Context, userID string) iter.Seq2[account.Attempt, error] {
	var found []account.Attempt
	s.mu.Lock()
	for _, a := range slices.Backward(s.attempts) {
		if a.UserID == userID {
			found = append(found, a)
		}
	}
	s.mu.Unlock()
	slices.SortStableFunc(found, func(a, b account.Attempt) int { return b.At.Compare(a.At) })
	return each(ctx, "attempts", found)
}

// Credentials implements account.AdminStore.
func (s *Store) Credentials(ctx context.Context, prefix string, disabledOnly bool) iter.Seq2[account.Credential, error] {
	var found []account.Credential
	s.mu.Lock()
	for _, c := range s.credentials {
		if strings.HasPrefix(c.Canonical, prefix) && (c.Disabled || !disabledOnly) {
			c.Password = ""
			found = append(found, c)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(found, func(a, b account.Credential) int { return strings.Compare(a.Canonical, b.Canonical) })
	return each(ctx, "credentials", found)
}

// each yields what there was, or that the caller has gone.
func each[T any](ctx context.Context, what string, all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := ctx.Err(); err != nil {
			var none T
			yield(none, fmt.Errorf("%s: %w", what, err))
			return
		}
		for _, one := range all {
			if !yield(one, nil) {
				return
			}
		}
	}
}

// Users implements account.AdminStore.
func (s *Store) Users(ctx context.Context, ids []string) (map[string]account.User, error) {
	found := map[string]account.User{}
	for _, id := range ids {
		u, err := s.User(ctx, id)
		if err == nil {
			found[id] = u
		} else if !errors.Is(err, account.ErrNotFound) {
			return nil, err
		}
	}
	return found, nil
}

// ForgetAddresses implements account.AdminStore.
func (s *Store) ForgetAddresses(ctx context.Context, userID string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("forget addresses: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(0)
	for i, a := range s.attempts {
		if a.UserID == userID && (a.IP != "" || a.RequestID != "") {
			s.attempts[i].IP, s.attempts[i].RequestID = "", ""
			n++
		}
	}
	return n, nil
}

// DeleteUser implements account.AdminStore.
func (s *Store) DeleteUser(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, id)
	return nil
}

// DeleteCredential implements account.AdminStore.
func (s *Store) DeleteCredential(ctx context.Context, canonical, userID string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete credential: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credentials[canonical].UserID == userID {
		delete(s.credentials, canonical)
	}
	return nil
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
