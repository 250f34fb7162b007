// Package tokencache remembers which tokens were verified, up to a bound, so
// that one that comes again costs a hash and no signature.
//
// A token is remembered by its SHA-256 until it expires or its key is taken away;
// the token itself is not kept, and a refusal is not remembered. Whether a token was revoked is not
// known here: ask for every request.
package tokencache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/earlybird/earlybird/identity/token"
)

// Verifier is who decides about a token that is not remembered: a
// *token.Verifier.
type Verifier interface {
	// Verify's errors wrap package token's.
	Verify(raw string) (token.Claims, error)
	// GoodUntil is when Verify begins to refuse a token of these claims.
	GoodUntil(c token.Claims) time.Time
}

// Config configures a Cache. Verifier and Keys are required, Size is positive.
type Config struct {
	Verifier Verifier
	Keys     token.KeySource  // what Verifier verifies with; a kid names one key for ever
	Size     int              // tokens remembered at most; each takes about 0.5 KiB
	Now      func() time.Time // nil: time.Now
}

// Cache verifies tokens. It is safe for concurrent use.
type Cache struct {
	verifier Verifier
	keys     token.KeySource
	now      func() time.Time
	known    *lru.Cache[[sha256.Size]byte, token.Claims]
}

// New checks the configuration.
func New(c Config) (*Cache, error) {
	if c.Verifier == nil || c.Keys == nil || c.Size <= 0 {
		return nil, errors.New("token cache needs a verifier, its keys and a size")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	known, err := lru.New[[sha256.Size]byte, token.Claims](c.Size)
	if err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	return &Cache{verifier: c.Verifier, keys: c.Keys, now: c.Now, known: known}, nil
}

// Verify returns the claims of a token that is good now, or the verifier's
// error.
func (c *Cache) Verify(raw string) (token.Claims, error) {
	if len(raw) > token.MaxSize {
		return c.verifier.Verify(raw) // which says why not
	}
	var usual [512]byte // most tokens fit, and need no copy on the heap
	sum := sha256.Sum256(append(usual[:0], raw...))
	if claims, ok := c.known.Get(sum); ok && c.good(claims) {
		return claims, nil
	}
	claims, err := c.verifier.Verify(raw)
	if err == nil {
		c.known.Add(sum, claims)
	}
	return claims, err
}

// good reports whether a token that was accepted would be still. A key that
// leaked and was withdrawn must not go on opening doors from memory.
func (c *Cache) good(claims token.Claims) bool {
	_, err := c.keys.PublicKey(claims.KeyID)
	return err == nil && c.now().Before(c.verifier.GoodUntil(claims))
}
