package tokencache_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/tokencache"
)

// verifier takes every token for one of an hour, and counts.
type verifier struct {
	asked int
	err   error
	began time.Time
}

func (v *verifier) Verify(raw string) (token.Claims, error) {
	v.asked++
	if v.err != nil {
		return token.Claims{}, v.err
	}
	return token.Claims{ID: raw, KeyID: "1", Expires: v.began.Add(time.Hour)}, nil
}

// keys holds every key but the one that was withdrawn.
type keys struct{ withdrawn string }

func (k *keys) PublicKey(kid string) (ed25519.PublicKey, error) {
	if kid == k.withdrawn {
		return nil, token.ErrUnknownKey
	}
	return nil, nil
}

func (v *verifier) GoodUntil(c token.Claims) time.Time { return c.Expires.Add(time.Second) }

func newCache(t *testing.T, size int) (*tokencache.Cache, *verifier, *time.Time, *keys) {
	t.Helper()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	v := &verifier{began: now}
	k := &keys{}
	c, err := tokencache.New(tokencache.Config{Verifier: v, Keys: k, Size: size, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return c, v, &now, k
}

func TestAcceptedTokenIsRememberedUntilItExpires(t *testing.T) {
	c, v, now, _ := newCache(t, 2)
	good := func(raw string, asked int) {
		t.Helper()
		if claims, err := c.Verify(raw); err != nil || claims.ID != raw || v.asked != asked {
			t.Errorf("%s: %+v, %v, asked %d times, want %d", raw, claims, err, v.asked, asked)
		}
	}
	good("a", 1)
	good("a", 1)
	good("b", 2)
	*now = now.Add(time.Hour)
	good("a", 2) // within the leeway
	*now = now.Add(time.Second)
	v.err = token.ErrExpired
	if _, err := c.Verify("a"); !errors.Is(err, token.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
}

func TestRefusalIsNotRemembered(t *testing.T) {
	c, v, _, _ := newCache(t, 2)
	v.err = token.ErrNoKeys
	if _, err := c.Verify("a"); !errors.Is(err, token.ErrNoKeys) {
		t.Fatal(err)
	}
	v.err = nil
	if _, err := c.Verify("a"); err != nil {
		t.Error(err)
	}
}

func TestTokenOfAWithdrawnKeyIsForgotten(t *testing.T) {
	c, v, _, k := newCache(t, 2)
	if _, err := c.Verify("a"); err != nil {
		t.Fatal(err)
	}
	k.withdrawn, v.err = "1", token.ErrUnknownKey
	if _, err := c.Verify("a"); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("the key is gone: %v", err)
	}
}

func TestBound(t *testing.T) {
	c, v, _, _ := newCache(t, 2)
	for _, raw := range []string{"a", "b", "c", "c", "b", "a"} {
		if _, err := c.Verify(raw); err != nil {
			t.Fatal(err)
		}
	}
	if v.asked != 4 { // a made room for c
		t.Errorf("asked %d times, want 4", v.asked)
	}
	huge := strings.Repeat("x", token.MaxSize+1)
	for range 2 {
		_, _ = c.Verify(huge)
	}
	if v.asked != 6 {
		t.Errorf("a token over the limit is remembered")
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	for _, c := range []tokencache.Config{
		{Verifier: &verifier{}, Keys: &keys{}}, {Verifier: &verifier{}, Size: 1}, {Keys: &keys{}, Size: 1},
	} {
		if _, err := tokencache.New(c); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}
