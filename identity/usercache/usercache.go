// Package usercache remembers users for a short while, in memory and up to a
// bound, so that reading one's own account seldom asks the database.
//
// A user never changes once created (only the credential does, which is not
// kept here), so what is remembered cannot be wrong; the time limit is for a
// user whom an operator removed from the database.
package usercache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/earlybird/earlybird/identity/account"
)

// readTimeout bounds one read from the store: it serves several callers, so
// none of their deadlines holds for it.
const readTimeout = 5 * time.Second

// Source is where users are read from: an account.Store.
type Source interface {
	// User returns a user by id, or account.ErrNotFound.
	User(ctx context.Context, id string) (account.User, error)
}

// Config configures a Cache. Source is required, Size and TTL are positive.
type Config struct {
	Source Source
	Size   int              // users remembered at most
	TTL    time.Duration    // for which one is remembered
	Now    func() time.Time // nil: time.Now
}

// Cache is a Source that remembers. It is safe for concurrent use.
type Cache struct {
	Config
	flights      singleflight.Group
	known        *lru.Cache[string, entry]
	hits, misses atomic.Uint64
}

type entry struct {
	user    account.User
	expires time.Time
}

// Stats counts since the start.
type Stats struct {
	Users  int    // remembered now
	Hits   uint64 // reads answered from memory
	Misses uint64 // reads that had to ask, several at once for one user included
}

// New checks the configuration.
func New(c Config) (*Cache, error) {
	if c.Source == nil || c.Size <= 0 || c.TTL <= 0 {
		return nil, errors.New("user cache needs a source, a size and a TTL")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	known, err := lru.New[string, entry](c.Size)
	if err != nil {
		return nil, fmt.Errorf("user cache: %w", err)
	}
	return &Cache{Config: c, known: known}, nil
}

// User returns the user with this id from memory or from the source, which is
// asked once for all who want the same user at the same time. A user who is
// not there is not remembered: they may be the next to be created.
func (c *Cache) User(ctx context.Context, id string) (account.User, error) {
	if u, ok := c.recall(id); ok {
		return u, nil
	}
	flight := c.flights.DoChan(id, func() (any, error) {
		read, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		u, err := c.Source.User(read, id)
		if err == nil {
			c.remember(u)
		}
		return u, err
	})
	select {
	case done := <-flight:
		u, _ := done.Val.(account.User)
		return u, done.Err
	case <-ctx.Done():
		return account.User{}, fmt.Errorf("wait for user: %w", ctx.Err())
	}
}

func (c *Cache) recall(id string) (account.User, bool) {
	if held, ok := c.known.Get(id); ok && c.Now().Before(held.expires) {
		c.hits.Add(1)
		return held.user, true
	}
	c.misses.Add(1)
	return account.User{}, false
}

func (c *Cache) remember(u account.User) { c.known.Add(u.ID, entry{u, c.Now().Add(c.TTL)}) }

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	return Stats{Users: c.known.Len(), Hits: c.hits.Load(), Misses: c.misses.Load()}
}
