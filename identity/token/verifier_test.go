package token_test

import (
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

func TestVerifyAccepts(t *testing.T) {
	tests := []struct{ name, raw string }{
		{"a plain token", withClaims(nil)},
		{"the long media type", withHeader(fields{"typ": "application/at+jwt"})},
		{"a media type in capitals", withHeader(fields{"typ": "AT+JWT"})},
		{"a long media type in mixed case", withHeader(fields{"typ": "Application/At+Jwt"})},
		{"an unknown header parameter", withHeader(fields{"x": map[string]any{"y": 1}})},
		{"an unknown claim", withClaims(fields{"scope": []string{"a", "a"}})},
		{"an audience list of ours alone", withClaims(fields{"aud": []string{testAudience}})},
		{"an audience list that holds ours", withClaims(fields{"aud": []string{"other", testAudience}})},
		{"an unknown claim with a number that no float holds", claimsText("sub", `"user-1","x":1e999`)},
		{"generation zero", withClaims(fields{"gen": 0})},
		{"white space in the JSON", signed(" "+goodHeader().json()+"\n", "\t"+goodClaims().json())},
		{"an escaped member name", claimsText("sub", `"user-1","\u0067en2":1`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims, err := newVerifier(t, testNow, testKeys).Verify(tt.raw)
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			if claims.Subject != "user-1" || claims.Audience != testAudience || claims.ID != "token-1" {
				t.Errorf("claims = %+v", claims)
			}
		})
	}
}

// Names are compared after unescaping, at every depth, in members of ours and
// in others. Checked with encoding/json in parseObject, which takes the last of two.
func TestVerifyRefusesRepeatedNames(t *testing.T) {
	for text, unique := range map[string]bool{
		`{}`: true, `[]`: true, `["a","a"]`: true,
		`{"a":"a","b":"a"}`:                   true,
		`{"a":1,"A":2}`:                       true,
		`{"a":{"a":1},"b":[{"a":1},{"a":2}]}`: true,
		`{"a":1,"a":1}`:                       false,
		`{"a":1,"\u0061":1}`:                  false,
		`{"a":{},"a":1}`:                      false,
		`{"a":[],"a":1}`:                      false,
		`[{"a":{"b":1,"c":[],"b":2}}]`:        false,
		`{"n":1e999,"a":1,"a":2}`:             false,
		`[[[[{"a":null,"a":null}]]]]`:         false,
	} {
		for where, raw := range map[string]string{
			"header": signed(strings.TrimSuffix(goodHeader().json(), "}")+`,"x":`+text+"}", goodClaims().json()),
			"claims": signed(goodHeader().json(), strings.TrimSuffix(goodClaims().json(), "}")+`,"x":`+text+"}"),
		} {
			_, err := newVerifier(t, testNow, testKeys).Verify(raw)
			if unique != (err == nil) || !unique && !errors.Is(err, token.ErrMalformed) {
				t.Errorf("%s with %s: %v", where, text, err)
			}
		}
	}
}

func TestVerifyClock(t *testing.T) {
	exp := testNow.Add(token.Lifetime)
	tests := []struct {
		name string
		now  time.Time
		raw  string
		want error
	}{
		{"at its issue", testNow, withClaims(nil), nil},
		{"one second before exp", exp.Add(-time.Second), withClaims(nil), nil},
		{"at exp, within the leeway", exp, withClaims(nil), nil},
		{"just within the leeway after exp", exp.Add(testLeeway - 1), withClaims(nil), nil},
		{"at exp and leeway", exp.Add(testLeeway), withClaims(nil), token.ErrExpired},
		{"long after", exp.AddDate(1, 0, 0), withClaims(nil), token.ErrExpired},
		{"issued within the leeway from now", testNow.Add(-testLeeway), withClaims(nil), nil},
		{"issued beyond the leeway from now", testNow.Add(-testLeeway - 1), withClaims(nil), token.ErrNotYetValid},
		{"iat in the future", testNow, withClaims(fields{"iat": testNow.Unix() + 6}), token.ErrNotYetValid},
		{"nbf in the future", testNow, withClaims(fields{"nbf": testNow.Unix() + 6}), token.ErrNotYetValid},
		{"nbf within the leeway", testNow, withClaims(fields{"nbf": testNow.Unix() + 5}), nil},
		{"exp zero", testNow, withClaims(fields{"exp": 0, "iat": 0}), token.ErrMalformed},
		{"exp at iat", testNow, withClaims(fields{"exp": testNow.Unix()}), token.ErrMalformed},
		{"a life longer than ours", testNow, withClaims(fields{"exp": exp.Unix() + 1}), token.ErrMalformed},
		{"exp in the year 9999", testNow, withClaims(fields{"exp": 253402300799}), token.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims, err := newVerifier(t, tt.now, testKeys).Verify(tt.raw)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
			if err != nil && claims != (token.Claims{}) {
				t.Errorf("claims of a refused token: %+v", claims)
			}
		})
	}
}

func TestVerifyDemand(t *testing.T) {
	const other = testAudience + "/password"
	tests := []struct {
		name   string
		aud    any
		demand token.Demand
		want   string // Claims.Audience; empty: refused
	}{
		{"ours", testAudience, token.Demand{Audience: testAudience}, testAudience},
		{"another", other, token.Demand{Audience: testAudience}, ""},
		{"the other, also accepted", other, token.Demand{Audience: testAudience, AlsoAudience: other}, other},
		{"ours, with another also accepted", testAudience, token.Demand{Audience: testAudience, AlsoAudience: other}, testAudience},
		{"neither", "x", token.Demand{Audience: testAudience, AlsoAudience: other}, ""},
		{"one in a list", []string{"x", other}, token.Demand{Audience: testAudience, AlsoAudience: other}, other},
		{"both in a list", []string{other, testAudience}, token.Demand{Audience: testAudience, AlsoAudience: other}, testAudience},
		{"only a prefix", testAudience + "x", token.Demand{Audience: testAudience}, ""},
		{"no demand", testAudience, token.Demand{}, ""},
	}
	v := newVerifier(t, testNow, testKeys).Verifier
	cache := newCache(t, token.CacheConfig[int]{Verifier: v, Size: 10})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := withClaims(fields{"aud": tt.aud})
			for name, verify := range map[string]func(string, token.Demand) (token.Claims, error){
				"verifier": v.Verify, "cache": cache.Verify, "cache again": cache.Verify,
			} {
				claims, err := verify(raw, tt.demand)
				if claims.Audience != tt.want || (tt.want == "") != errors.Is(err, token.ErrAudience) {
					t.Errorf("%s: %q, %v; want %q", name, claims.Audience, err, tt.want)
				}
			}
		})
	}
}

func TestVerifyWithoutKeys(t *testing.T) {
	_, err := newVerifier(t, testNow, token.KeySet{}).Verify(withClaims(nil))
	if !errors.Is(err, token.ErrNoKeys) {
		t.Errorf("Verify = %v, want ErrNoKeys", err)
	}
	// What is wrong with the token itself is said all the same.
	_, err = newVerifier(t, testNow, token.KeySet{}).Verify(withHeader(fields{"alg": "none"}))
	if !errors.Is(err, token.ErrAlgorithm) {
		t.Errorf("Verify = %v, want ErrAlgorithm", err)
	}
}

// brokenSource returns a key that is none.
type brokenSource struct{}

func (brokenSource) PublicKey(string) (ed25519.PublicKey, error) { return testPublic[:31], nil }

func TestVerifyWithBrokenKey(t *testing.T) {
	_, err := newVerifier(t, testNow, brokenSource{}).Verify(withClaims(nil))
	if !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("Verify = %v, want ErrUnknownKey", err)
	}
}

// TestVerifySingleBitFlips alters every bit of every character of a token.
func TestVerifySingleBitFlips(t *testing.T) {
	raw := withClaims(nil)
	verifier := newVerifier(t, testNow, testKeys)
	for i := range raw {
		for bit := range 8 {
			altered := []byte(raw)
			altered[i] ^= 1 << bit
			if _, err := verifier.Verify(string(altered)); err == nil {
				t.Errorf("accepted with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

// TestVerifyEveryTruncation cuts a token everywhere.
func TestVerifyEveryTruncation(t *testing.T) {
	raw := withClaims(nil)
	verifier := newVerifier(t, testNow, testKeys)
	for i := range raw {
		if _, err := verifier.Verify(raw[:i]); err == nil {
			t.Errorf("accepted the first %d bytes", i)
		}
		if _, err := verifier.Verify(raw[i+1:]); err == nil {
			t.Errorf("accepted without the first %d bytes", i+1)
		}
	}
}

// TestErrorsHoldNoTokenBytes puts a marker wherever a token has room for one.
func TestErrorsHoldNoTokenBytes(t *testing.T) {
	const marker = "SECRETMARKER"
	for name, raw := range map[string]string{
		"alg":       withHeader(fields{"alg": marker}),
		"typ":       withHeader(fields{"typ": marker}),
		"kid":       withHeader(fields{"kid": marker}),
		"crit":      withHeader(fields{"crit": []string{marker}}),
		"header":    signed(marker, goodClaims().json()),
		"claims":    signed(goodHeader().json(), marker),
		"iss":       withClaims(fields{"iss": marker}),
		"aud":       withClaims(fields{"aud": marker}),
		"exp":       withClaims(fields{"exp": marker}),
		"duplicate": signed(goodHeader().json(), `{"`+marker+`":1,"`+marker+`":2}`),
		"no token":  marker,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newVerifier(t, testNow, testKeys).Verify(raw)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), marker) || strings.Contains(err.Error(), encode(marker)[:15]) {
				t.Errorf("error tells of the token: %v", err)
			}
		})
	}
}

// malleated returns a token whose signature's S is S+L: the same equation, but
// not the encoding that RFC 8032 section 5.1.7 demands.
func malleated() string {
	raw := withClaims(nil)
	input := raw[:strings.LastIndex(raw, ".")]
	signature := ed25519.Sign(testKey, []byte(input))
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := signature[32:]
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order)
	sum.FillBytes(s)
	slices.Reverse(s)
	return input + "." + encode(string(signature))
}
