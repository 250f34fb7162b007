package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

const (
	testIssuer   = "https://earlybird.example"
	testAudience = "earlybird"
	testKID      = "1-test"
	testLeeway   = 5 * time.Second
)

var (
	// testKey is the key of RFC 8032 section 7.1, test 1: no secret.
	testKey = ed25519.NewKeyFromSeed([]byte("\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4" +
		"\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60"))
	testPublic = testKey.Public().(ed25519.PublicKey)
	testKeys   = token.NewKeySet(map[string]ed25519.PublicKey{testKID: testPublic})
	testNow    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func fixedClock() time.Time { return testNow }

// verifier verifies for testAudience.
type verifier struct{ *token.Verifier }

func (v verifier) Verify(raw string) (token.Claims, error) {
	return v.Verifier.Verify(raw, token.Demand{Audience: testAudience})
}

func newVerifier(t testing.TB, now time.Time, keys token.KeySource) verifier {
	t.Helper()
	v, err := token.NewVerifier(token.VerifierConfig{
		Issuer: testIssuer, Leeway: testLeeway, Keys: keys, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	return verifier{v}
}

func newIssuer(t testing.TB) *token.Issuer {
	t.Helper()
	return token.NewIssuer(token.IssuerConfig{
		Issuer: testIssuer, Audience: testAudience, ClientID: "earlybird", Now: fixedClock,
		Key: func() (string, ed25519.PrivateKey, error) { return testKID, testKey, nil },
	})
}

// fields are a header or claims to be altered before they are signed. A nil
// value removes a member.
type fields map[string]any

func (f fields) with(changes fields) fields {
	f = maps.Clone(f)
	for name, value := range changes {
		if value == nil {
			delete(f, name)
			continue
		}
		f[name] = value
	}
	return f
}

func (f fields) json() string {
	data, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func goodHeader() fields {
	return fields{"alg": "EdDSA", "typ": "at+jwt", "kid": testKID}
}

func goodClaims() fields {
	return fields{
		"iss": testIssuer, "sub": "user-1", "aud": testAudience, "client_id": "earlybird",
		"iat": testNow.Unix(), "nbf": testNow.Unix(), "exp": testNow.Add(token.Lifetime).Unix(),
		"jti": "token-1", "gen": 3,
	}
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signed returns a token of any header and claims with a right signature.
func signed(header, claims string) string { return signedSegments(encode(header), encode(claims)) }

func signedSegments(header, claims string) string {
	input := header + "." + claims
	return input + "." + encode(string(ed25519.Sign(testKey, []byte(input))))
}

func withHeader(changes fields) string {
	return signed(goodHeader().with(changes).json(), goodClaims().json())
}

func withClaims(changes fields) string {
	return signed(goodHeader().json(), goodClaims().with(changes).json())
}

// claimsText returns good claims in which the text of one member's value is
// replaced, for what json.Marshal would not write.
func claimsText(name, value string) string {
	text := goodClaims().with(fields{name: "PLACEHOLDER"}).json()
	return signed(goodHeader().json(), strings.Replace(text, `"PLACEHOLDER"`, value, 1))
}
