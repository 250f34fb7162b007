package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

func TestIssuedTokenIsAsDesigned(t *testing.T) {
	raw, claims, err := newIssuer(t).Issue("user-1", 7)
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	parts := strings.Split(raw, ".")
	header := decodeFields(t, parts[0])
	wantHeader := map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": testKID}
	compareFields(t, "header", header, wantHeader)
	compareFields(t, "claims", decodeFields(t, parts[1]), map[string]any{
		"iss": testIssuer, "sub": "user-1", "aud": testAudience, "client_id": "earlybird",
		"iat": float64(testNow.Unix()), "nbf": float64(testNow.Unix()),
		"exp": float64(testNow.Unix() + 1800), "jti": claims.ID, "gen": float64(7),
	})
	got, err := newVerifier(t, testNow, testKeys).Verify(raw)
	if err != nil || got != claims {
		t.Errorf("Verify = %+v, %v; want %+v, nil", got, err, claims)
	}
}

func TestIssuedTokensDiffer(t *testing.T) {
	issuer := newIssuer(t)
	_, a, errA := issuer.Issue("user-1", 0)
	_, b, errB := issuer.Issue("user-1", 0)
	if errA != nil || errB != nil || a.ID == b.ID || len(a.ID) < 22 {
		t.Errorf("token ids %q and %q (%v, %v); want two different ones of 128 bits", a.ID, b.ID, errA, errB)
	}
}

func TestIssueTruncatesToSeconds(t *testing.T) {
	issuer := token.NewIssuer(token.IssuerConfig{
		Issuer: testIssuer, Audience: testAudience, ClientID: "earlybird",
		Now: func() time.Time { return testNow.Add(999 * time.Millisecond) },
		Key: func() (string, ed25519.PrivateKey, error) { return testKID, testKey, nil },
	})
	_, claims, err := issuer.Issue("user-1", 0)
	if err != nil || !claims.IssuedAt.Equal(testNow) || claims.Expires.Sub(claims.IssuedAt) != token.Lifetime {
		t.Errorf("claims = %+v, %v; want iat %v", claims, err, testNow)
	}
}

func TestIssueRefuses(t *testing.T) {
	noKey := errors.New("no key")
	tests := []struct {
		name       string
		subject    string
		generation int64
		key        func() (string, ed25519.PrivateKey, error)
		want       error // nil: any
	}{
		{name: "no subject", generation: 1},
		{name: "negative generation", subject: "u", generation: -1},
		{name: "generation that JSON parsers read differently", subject: "u", generation: 1 << 53},
		{name: "subject that makes the token too large", subject: strings.Repeat("u", token.MaxSize)},
		{
			name: "no signing key", subject: "u", want: noKey,
			key: func() (string, ed25519.PrivateKey, error) { return "", nil, noKey },
		},
		{
			name: "broken signing key", subject: "u",
			key: func() (string, ed25519.PrivateKey, error) { return "k", nil, nil },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.key == nil {
				tt.key = func() (string, ed25519.PrivateKey, error) { return testKID, testKey, nil }
			}
			issuer := token.NewIssuer(token.IssuerConfig{Issuer: "i", Audience: "a", ClientID: "c", Key: tt.key, Now: fixedClock})
			raw, _, err := issuer.Issue(tt.subject, tt.generation)
			if err == nil || raw != "" {
				t.Fatalf("Issue = %d bytes, %v; want an error", len(raw), err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Issue = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestConfigsThatCannotWork(t *testing.T) {
	if _, err := token.NewVerifier(token.VerifierConfig{Leeway: 61 * time.Second}); err == nil || !strings.Contains(err.Error(), "leeway 1m1s") {
		t.Errorf("NewVerifier = %v", err)
	}
	if _, err := token.NewJWKS(token.JWKSConfig{URL: "redis://host"}); err == nil || !strings.Contains(err.Error(), "URL") {
		t.Errorf("NewJWKS = %v", err)
	}
	if _, err := token.NewCache(token.CacheConfig[int]{}); err == nil || !strings.Contains(err.Error(), "size") {
		t.Errorf("NewCache = %v", err)
	}
}

func decodeFields(t *testing.T, segment string) map[string]any {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	return m
}

func compareFields(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s %s = %v, want %v", what, name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d members, want %d: %v", what, len(got), len(want), got)
	}
}
