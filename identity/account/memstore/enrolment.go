package memstore

import (
	"context"
	"fmt"

	"github.com/earlybird/earlybird/identity/account/enrolment"
)

var _ enrolment.Store = (*Store)(nil)

// AddIssues implements enrolment.Store.
func (s *Store) AddIssues(ctx context.Context, issues []enrolment.Issue) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("add issues: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var held []int
	for i, issue := range issues {
		switch stored := s.issues[issue.Customer]; {
		case int64(len(stored)) < issue.Number:
			s.issues[issue.Customer] = append(stored, issue)
		case stored[issue.Number-1] != issue:
			held = append(held, i)
		}
	}
	return held, nil
}

// Issue implements enrolment.Store.
func (s *Store) Issue(ctx context.Context, customer string, number int64) (enrolment.Issue, error) {
	if err := ctx.Err(); err != nil {
		return enrolment.Issue{}, fmt.Errorf("issue: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if number < 1 || number > int64(len(s.issues[customer])) {
		return enrolment.Issue{}, enrolment.ErrNotFound
	}
	return s.issues[customer][number-1], nil
}

// Code implements enrolment.Store.
func (s *Store) Code(ctx context.Context, hash string) (enrolment.Issue, error) {
	if err := ctx.Err(); err != nil {
		return enrolment.Issue{}, fmt.Errorf("code: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, issues := range s.issues {
		for _, issue := range issues {
			if issue.Hash == hash && hash != "" {
				return issue, nil
			}
		}
	}
	return enrolment.Issue{}, enrolment.ErrNotFound
}

// AddClaim implements enrolment.Store.
func (s *Store) AddClaim(ctx context.Context, c enrolment.Claim) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("add claim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, ok := s.claims[c.Customer]; ok {
		if held.UserID == c.UserID {
			return nil
		}
		return enrolment.ErrClaimed
	}
	s.claims[c.Customer] = c
	return nil
}

// Claim implements enrolment.Store.
func (s *Store) Claim(ctx context.Context, customer string) (enrolment.Claim, error) {
	if err := ctx.Err(); err != nil {
		return enrolment.Claim{}, fmt.Errorf("claim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.claims[customer]
	if !ok {
		return enrolment.Claim{}, enrolment.ErrNotFound
	}
	return c, nil
}

// SettleClaim implements enrolment.Store.
func (s *Store) SettleClaim(ctx context.Context, customer, userID string) error {
	return s.withClaim(ctx, customer, userID, func(c enrolment.Claim) {
		c.Pending = nil
		s.claims[customer] = c
	})
}

// RemoveClaim implements enrolment.Store.
func (s *Store) RemoveClaim(ctx context.Context, customer, userID string) error {
	return s.withClaim(ctx, customer, userID, func(enrolment.Claim) { delete(s.claims, customer) })
}

func (s *Store) withClaim(ctx context.Context, customer, userID string, change func(enrolment.Claim)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("change claim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.claims[customer]; ok && c.UserID == userID {
		change(c)
	}
	return nil
}

// RemoveAccount removes an account, and leaves the claim of its customer.
func (s *Store) RemoveAccount(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.credentials, s.users[id].Canonical)
	delete(s.users, id)
}
