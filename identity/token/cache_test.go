package token_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

func newCache[V any](t testing.TB, cfg token.CacheConfig[V]) *token.Cache[V] {
	t.Helper()
	c, err := token.NewCache(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// remembering is a cache with a clock and keys that can be changed, which
// counts. Its values are the ids of its tokens.
type remembering struct {
	*token.Cache[string]
	now            time.Time
	keys           atomic.Pointer[token.KeySet]
	hits, misses   atomic.Int64
	held, released atomic.Int64
}

func (r *remembering) PublicKey(kid string) (ed25519.PublicKey, error) {
	return r.keys.Load().PublicKey(kid)
}

func newRemembering(t testing.TB, size int) *remembering {
	t.Helper()
	r := &remembering{now: testNow}
	r.keys.Store(&testKeys)
	v, err := token.NewVerifier(token.VerifierConfig{
		Issuer: testIssuer, Leeway: testLeeway, Keys: r, Now: func() time.Time { return r.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Cache = newCache(t, token.CacheConfig[string]{
		Verifier: v, Size: size,
		Hold:    func(c token.Claims) string { r.held.Add(1); return c.ID },
		Release: func(string) { r.released.Add(1) },
		Observe: func(hit bool) {
			if hit {
				r.hits.Add(1)
			} else {
				r.misses.Add(1)
			}
		},
	})
	return r
}

// numbered is a token with this number in its jti.
func numbered(i int) string { return withClaims(fields{"jti": fmt.Sprint("token-", i)}) }

// accept looks a token up that must be accepted, as a hit or not.
func (r *remembering) accept(t testing.TB, what, raw string, hit bool) {
	t.Helper()
	before := r.hits.Load()
	e, err := r.Lookup(raw, token.Demand{Audience: testAudience})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if e.Value != e.Claims.ID || e.Claims.Subject != "user-1" {
		t.Errorf("%s: %+v", what, e)
	}
	if got := r.hits.Load() != before; got != hit {
		t.Errorf("%s: hit %t, want %t", what, got, hit)
	}
}

func (r *remembering) refuse(t testing.TB, what, raw string, want error) {
	t.Helper()
	if e, err := r.Lookup(raw, token.Demand{Audience: testAudience}); !errors.Is(err, want) || e != nil {
		t.Errorf("%s: %+v, %v; want %v", what, e, err, want)
	}
}

func TestCacheRemembersUntilExpiry(t *testing.T) {
	r := newRemembering(t, 10)
	raw := withClaims(nil)
	r.accept(t, "new", raw, false)
	r.accept(t, "again", raw, true)
	r.now = testNow.Add(token.Lifetime + testLeeway - 1)
	r.accept(t, "just before the end of the leeway", raw, true)
	r.now = r.now.Add(1)
	r.refuse(t, "then", raw, token.ErrExpired)
	if r.Len() != 0 || r.released.Load() != 1 {
		t.Errorf("%d tokens kept, %d released; want the expired one gone", r.Len(), r.released.Load())
	}
}

// A key that leaked is withdrawn: what was forged with it must not live on among
// the tokens verified before. Other keys' tokens are not verified again for it.
// Checked by not comparing the key in valid.
func TestCacheForgetsTokensOfAKeyThatIsGone(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRemembering(t, 10)
	both := token.NewKeySet(map[string]ed25519.PublicKey{testKID: testPublic, "2": public})
	r.keys.Store(&both)
	ours, other := withClaims(nil), signedWith(private, goodHeader().with(fields{"kid": "2"}))
	r.accept(t, "ours", ours, false)
	r.accept(t, "other", other, false)
	r.keys.Store(&testKeys)
	r.accept(t, "ours after another key went", ours, true)
	r.refuse(t, "other", other, token.ErrUnknownKey)
	replaced := token.NewKeySet(map[string]ed25519.PublicKey{testKID: public})
	r.keys.Store(&replaced)
	r.refuse(t, "another key of the same kid", ours, token.ErrSignature)
	r.keys.Store(&testKeys)
	r.accept(t, "the key is back", ours, false)
}

func TestCacheRemembersNoRefusal(t *testing.T) {
	r := newRemembering(t, 10)
	none := token.KeySet{}
	r.keys.Store(&none)
	raw := withClaims(nil)
	r.refuse(t, "no keys", raw, token.ErrNoKeys)
	r.keys.Store(&testKeys)
	r.accept(t, "keys", raw, false)
	r.refuse(t, "altered", raw[:len(raw)-4]+"AAAA", token.ErrSignature)
	r.refuse(t, "over the limit", strings.Repeat("a", token.MaxSize+1), token.ErrMalformed)
	if r.Len() != 1 {
		t.Errorf("%d tokens remembered, want 1", r.Len())
	}
}

func TestCacheIsBounded(t *testing.T) {
	for _, size := range []int{1, 7, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRemembering(t, size)
			for i := range 3 * size {
				r.accept(t, "new", numbered(i), false)
			}
			if left := r.held.Load() - r.released.Load(); r.Len() != size || left != int64(size) {
				t.Errorf("%d tokens, %d values; want %d", r.Len(), left, size)
			}
		})
	}
}

// A token in use stays, whatever passes by once.
func TestCacheKeepsATokenInUse(t *testing.T) {
	r := newRemembering(t, 16)
	regular := withClaims(fields{"jti": "regular"})
	r.accept(t, "new", regular, false)
	for i := range 100 {
		r.accept(t, "passes by", numbered(i), false)
		r.accept(t, "in use", regular, true)
	}
}

// Every value that Hold has made is in the cache or was released, once.
func TestCacheConcurrentUse(t *testing.T) {
	r := newRemembering(t, 20)
	var tokens []string
	for i := range 40 {
		tokens = append(tokens, numbered(i))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 300 {
				if _, err := r.Verify(tokens[(i*31+j)%len(tokens)], token.Demand{Audience: testAudience}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := r.held.Load() - r.released.Load(); left != int64(r.Len()) {
		t.Errorf("%d values for %d tokens", left, r.Len())
	}
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	r := newRemembering(t, 10)
	raw := withClaims(nil)
	demand := token.Demand{Audience: testAudience}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Lookup(raw, demand); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	r := newRemembering(b, 100)
	raw := withClaims(nil)
	demand := token.Demand{Audience: testAudience}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(raw, demand); err != nil {
			b.Fatal(err)
		}
	}
}
