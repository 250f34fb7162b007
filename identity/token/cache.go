package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// CacheConfig configures a Cache. Verifier and a positive Size are required.
type CacheConfig[V any] struct {
	Verifier *Verifier
	Size     int // most tokens remembered; each takes about 0.5 KiB and its V
	// Hold returns what to keep with a token that was verified; nil: the zero
	// value. Release takes each of these values back once, when its token leaves
	// the cache; nil: nothing does. Both may be called by several goroutines at
	// once and must not call the Cache.
	Hold    func(Claims) V
	Release func(V)
	// Observe is called for each lookup with whether the token was remembered; may be nil.
	Observe func(hit bool)
}

// Cache verifies tokens and remembers those that are valid, so that one that
// comes again costs a hash and no signature. It is safe for concurrent use.
//
// A token is remembered by its SHA-256, until it expires, its key is withdrawn
// or replaced, or the cache is full and others were used more recently. The
// token itself is not kept, and neither is a refusal. What a route demands is
// checked on every lookup. The cache does not know about revocations: check
// them for every request.
type Cache[V any] struct {
	cfg     CacheConfig[V]
	entries *lru.Cache[[sha256.Size]byte, *Entry[V]]
}

// Entry is a token that was verified.
type Entry[V any] struct {
	Claims Claims // without Audience
	Value  V      // from Hold

	audience []string
	key      ed25519.PublicKey // that verified it
	until    time.Time         // when it is refused from
}

// NewCache returns an empty Cache. It fails when the size is not positive.
func NewCache[V any](cfg CacheConfig[V]) (*Cache[V], error) {
	if cfg.Hold == nil {
		cfg.Hold = func(Claims) (none V) { return none }
	}
	if cfg.Release == nil {
		cfg.Release = func(V) {}
	}
	if cfg.Observe == nil {
		cfg.Observe = func(bool) {}
	}
	c := &Cache[V]{cfg: cfg}
	var err error
	c.entries, err = lru.NewWithEvict(cfg.Size, func(_ [sha256.Size]byte, e *Entry[V]) { cfg.Release(e.Value) })
	if err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	return c, nil
}

// Verify is Verifier.Verify, for a token that may be remembered.
func (c *Cache[V]) Verify(raw string, d Demand) (Claims, error) {
	e, err := c.Lookup(raw, d)
	if err != nil {
		return Claims{}, err
	}
	claims := e.Claims
	claims.Audience, err = d.meet(e.audience)
	return claims, err
}

// Lookup returns the entry of a token that is valid now and meets d, or the
// error of Verifier.Verify. It allocates nothing for a token that is remembered.
func (c *Cache[V]) Lookup(raw string, d Demand) (*Entry[V], error) {
	if len(raw) > MaxSize { // before it is hashed
		return nil, errTooLarge
	}
	var usual [512]byte // most tokens fit, and need no copy on the heap
	sum := sha256.Sum256(append(usual[:0], raw...))
	e, ok := c.entries.Get(sum)
	hit := ok && c.valid(e)
	c.cfg.Observe(hit)
	if !hit {
		if ok {
			c.entries.Remove(sum)
		}
		good, err := c.cfg.Verifier.verify(raw)
		if err != nil {
			return nil, err
		}
		e = c.remember(sum, good)
	}
	if _, err := d.meet(e.audience); err != nil {
		return nil, err
	}
	return e, nil
}

// valid reports whether a token that was accepted would be still. A key that
// leaked and was withdrawn must not go on opening doors from memory.
func (c *Cache[V]) valid(e *Entry[V]) bool {
	v := c.cfg.Verifier.cfg
	key, err := v.Keys.PublicKey(e.Claims.KeyID)
	return err == nil && bytes.Equal(key, e.key) && v.Now().Before(e.until)
}

// remember returns the entry of a token, which is another request's when that
// one was faster: two entries of one token would differ in their values.
func (c *Cache[V]) remember(sum [sha256.Size]byte, good verified) *Entry[V] {
	e := &Entry[V]{
		Claims: good.claims, Value: c.cfg.Hold(good.claims),
		audience: good.audience, key: good.key, until: c.cfg.Verifier.goodUntil(good.claims),
	}
	if first, ok, _ := c.entries.PeekOrAdd(sum, e); ok {
		c.cfg.Release(e.Value)
		return first
	}
	return e
}

// Purge forgets every token, and gives their values back to Release.
func (c *Cache[V]) Purge() { c.entries.Purge() }

// Len is the number of tokens remembered.
func (c *Cache[V]) Len() int { return c.entries.Len() }
