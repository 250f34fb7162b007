package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

// FuzzVerify looks for a string that verifies though it is not, byte for byte,
// what the issuer signed. The fuzzer has no private key: whatever passes must be
// the one good token of the corpus.
func FuzzVerify(f *testing.F) {
	good := withClaims(nil)
	f.Add(good)
	f.Add(good + "\n")
	f.Add(strings.ToUpper(good))
	for _, tt := range encodingAttacks() {
		if len(tt.raw) <= token.MaxSize {
			f.Add(tt.raw)
		}
	}
	verifier := newVerifier(f, testNow, testKeys)
	f.Fuzz(func(t *testing.T, raw string) {
		claims, err := verifier.Verify(raw)
		if err == nil && raw != good {
			t.Fatalf("accepted %q", raw)
		}
		if err != nil && claims != (token.Claims{}) {
			t.Fatalf("claims of a refused token: %+v", claims)
		}
	})
}

// FuzzVerifySigned lets the fuzzer write header and claims and signs them, so
// that it gets past the signature to the parsers behind it.
func FuzzVerifySigned(f *testing.F) {
	f.Add(goodHeader().json(), goodClaims().json())
	for _, tt := range append(jsonAttacks(), claimAttacks()...) {
		header, claims := unpack(tt.raw)
		f.Add(header, claims)
	}
	verifier := newVerifier(f, testNow, testKeys)
	f.Fuzz(func(t *testing.T, header, claims string) {
		got, err := verifier.Verify(signed(header, claims))
		if err != nil {
			return
		}
		if got.Issuer != testIssuer || got.Audience != testAudience || got.Subject == "" || got.ID == "" || got.ClientID == "" {
			t.Fatalf("accepted %q %q as %+v", header, claims, got)
		}
		if life := got.Expires.Sub(got.IssuedAt); life <= 0 || life > token.Lifetime || got.Generation < 0 {
			t.Fatalf("accepted %q %q as %+v", header, claims, got)
		}
	})
}

func unpack(raw string) (header, claims string) {
	parts := strings.Split(raw, ".")
	h, _ := base64.RawURLEncoding.DecodeString(parts[0])
	c, _ := base64.RawURLEncoding.DecodeString(parts[1])
	return string(h), string(c)
}

func BenchmarkVerify(b *testing.B) {
	verifier := newVerifier(b, testNow, testKeys)
	for name, raw := range map[string]string{
		"good":            withClaims(nil),
		"wrong signature": signedWith(ed25519.NewKeyFromSeed(make([]byte, 32)), goodHeader()),
		"unknown kid":     withHeader(fields{"kid": "other"}),
		"alg none":        withHeader(fields{"alg": "none"}),
		"garbage":         strings.Repeat("A", token.MaxSize+1),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = verifier.Verify(raw)
			}
		})
	}
}

func BenchmarkIssue(b *testing.B) {
	issuer := newIssuer(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := issuer.Issue("user-1", 1); err != nil {
			b.Fatal(err)
		}
	}
}
