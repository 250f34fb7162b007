package account_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
)

// userSource has every user but "nobody", and counts how often it is asked.
type userSource struct {
	asked atomic.Int64
	err   error
	hold  chan struct{} // if not nil, answers wait for it
}

func (s *userSource) User(ctx context.Context, id string) (account.User, error) {
	s.asked.Add(1)
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return account.User{}, ctx.Err()
		}
	}
	if id == "nobody" {
		return account.User{}, account.ErrNotFound
	}
	return account.User{ID: id, Username: "name of " + id}, s.err
}

type cached struct {
	*account.UserCache
	source *userSource
	now    time.Time
}

func newCached(t *testing.T) *cached {
	t.Helper()
	s := &cached{source: &userSource{}, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	var err error
	s.UserCache, err = account.NewUserCache(account.UserCacheConfig{Source: s.source, Size: 2, TTL: time.Minute, Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read reads a user, after which the source must have been asked so often.
func (s *cached) read(t *testing.T, id string, asked int64) {
	t.Helper()
	u, err := s.User(t.Context(), id)
	if err != nil || u.ID != id || u.Username != "name of "+id {
		t.Errorf("user %s: %+v, %v", id, u, err)
	}
	if got := s.source.asked.Load(); got != asked {
		t.Errorf("after reading %s the source was asked %d times, want %d", id, got, asked)
	}
}

func TestRemembers(t *testing.T) {
	s := newCached(t)
	s.read(t, "a", 1)
	s.now = s.now.Add(time.Minute - 1)
	s.read(t, "a", 1)
	s.now = s.now.Add(1)
	s.read(t, "a", 2)
	if got, want := s.Stats(), (account.UserCacheStats{Users: 1, Hits: 1, Misses: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestIsBounded(t *testing.T) {
	s := newCached(t)
	s.read(t, "a", 1)
	s.read(t, "b", 2)
	s.read(t, "a", 2) // so b is the one used longest ago
	s.read(t, "c", 3)
	s.read(t, "a", 3)
	s.read(t, "b", 4)
	if got := s.Stats().Users; got != 2 {
		t.Errorf("%d users remembered, want 2", got)
	}
}

func TestErrorsAreNotRemembered(t *testing.T) {
	s := newCached(t)
	for range 2 {
		if _, err := s.User(t.Context(), "nobody"); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
	}
	s.source.err = errors.New("down")
	if _, err := s.User(t.Context(), "a"); err == nil {
		t.Error("the source's error is lost")
	}
	s.source.err = nil
	s.read(t, "a", 4)
}

// Many who want one user ask once, and who goes away takes nobody along.
func TestSingleFlight(t *testing.T) {
	s := newCached(t)
	s.source.hold = make(chan struct{})
	impatient, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := s.User(impatient, "a")
		gone <- err
	}()
	for s.source.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	var readers sync.WaitGroup
	errs := make(chan error, 20)
	for range 20 {
		readers.Go(func() {
			u, err := s.User(t.Context(), "a")
			if err == nil && u.ID != "a" {
				err = fmt.Errorf("got %+v", u)
			}
			errs <- err
		})
	}
	for s.Stats().Misses < 21 {
		time.Sleep(time.Millisecond)
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the impatient: %v", err)
	}
	close(s.source.hold)
	readers.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	// A reader that came when the flight had just landed finds it remembered.
	if got := s.source.asked.Load(); got > 2 {
		t.Errorf("the source was asked %d times", got)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]account.UserCacheConfig{
		"no source": {Size: 1, TTL: 1}, "no size": {Source: &userSource{}, TTL: 1}, "no TTL": {Source: &userSource{}, Size: 1},
	} {
		if _, err := account.NewUserCache(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
