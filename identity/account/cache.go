package account

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// cacheReadTimeout bounds one read from the source: it serves several callers, so
// none of their deadlines holds for it.
const cacheReadTimeout = 5 * time.Second

// UserSource is where a UserCache reads users: a Store.
type UserSource interface {
	// User returns a user by id, or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
}

// UserCacheConfig configures a UserCache. Source is required, Size and TTL are
// positive.
type UserCacheConfig struct {
	Source UserSource
	Size   int              // users remembered at most
	TTL    time.Duration    // for which one is remembered
	Now    func() time.Time // nil: time.Now
}

// UserCache remembers users for a short while, in memory and up to a bound, so
// that reading one's own account seldom asks the database. It is safe for
// concurrent use.
//
// A user never changes once created (only the credential does, which is not
// kept here), so what is remembered cannot be wrong; the time limit is for a
// user whom an operator removed from the database.
type UserCache struct {
	UserCacheConfig
	flights      singleflight.Group
	known        *lru.Cache[string, cachedUser]
	hits, misses atomic.Uint64
}

type cachedUser struct {
	user    User
	expires time.Time
}

// UserCacheStats counts since the start.
type UserCacheStats struct {
	Users  int    // remembered now
	Hits   uint64 // reads answered from memory
	Misses uint64 // reads that had to ask, several at once for one user included
}

// NewUserCache checks the configuration.
func NewUserCache(c UserCacheConfig) (*UserCache, error) {
	if c.Source == nil || c.Size <= 0 || c.TTL <= 0 {
		return nil, errors.New("user cache needs a source, a size and a TTL")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	known, err := lru.New[string, cachedUser](c.Size)
	if err != nil {
		return nil, fmt.Errorf("user cache: %w", err)
	}
	return &UserCache{UserCacheConfig: c, known: known}, nil
}

// User returns the user with this id from memory or from the source, which is
// asked once for all who want the same user at the same time. A user who is
// not there is not remembered: they may be the next to be created.
func (c *UserCache) User(ctx context.Context, id string) (User, error) {
	if u, ok := c.recall(id); ok {
		return u, nil
	}
	flight := c.flights.DoChan(id, func() (any, error) {
		read, cancel := context.WithTimeout(context.WithoutCancel(ctx), cacheReadTimeout)
		defer cancel()
		u, err := c.Source.User(read, id)
		if err == nil {
			c.remember(u)
		}
		return u, err
	})
	select {
	case done := <-flight:
		u, _ := done.Val.(User)
		return u, done.Err
	case <-ctx.Done():
		return User{}, fmt.Errorf("wait for user: %w", ctx.Err())
	}
}

func (c *UserCache) recall(id string) (User, bool) {
	if held, ok := c.known.Get(id); ok && c.Now().Before(held.expires) {
		c.hits.Add(1)
		return held.user, true
	}
	c.misses.Add(1)
	return User{}, false
}

func (c *UserCache) remember(u User) { c.known.Add(u.ID, cachedUser{u, c.Now().Add(c.TTL)}) }

// Stats returns the counts.
func (c *UserCache) Stats() UserCacheStats {
	return UserCacheStats{Users: c.known.Len(), Hits: c.hits.Load(), Misses: c.misses.Load()}
}
