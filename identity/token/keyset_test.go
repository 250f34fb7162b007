package token_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

func jwk(kid string) fields {
	return fields{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": encode(string(testPublic))}
}

func jwks(keys ...fields) string { return fields{"keys": keys}.json() }

func TestParseKeySetAccepts(t *testing.T) {
	tests := []struct {
		name, jwks string
		kids       []string
	}{
		{"one key", jwks(jwk("a")), []string{"a"}},
		{"two keys", jwks(jwk("a"), jwk("b")), []string{"a", "b"}},
		{"no use, no alg", jwks(jwk("a").with(fields{"use": nil, "alg": nil})), []string{"a"}},
		{"key_ops to verify", jwks(jwk("a").with(fields{"key_ops": []string{"verify"}})), []string{"a"}},
		{"unknown members", fields{"keys": []fields{jwk("a").with(fields{"x-note": 1})}, "note": "x"}.json(), []string{"a"}},
		{"an RSA key beside", jwks(fields{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}, jwk("a")), []string{"a"}},
		{"an unknown kind beside", jwks(fields{"kty": "XYZ", "kid": "a"}, jwk("a")), []string{"a"}},
		{"a symmetric key of the same kid", jwks(fields{"kty": "oct", "kid": "a", "k": "AAAA"}, jwk("a")), []string{"a"}},
		{"another curve beside", jwks(jwk("x").with(fields{"crv": "X25519"}), jwk("a")), []string{"a"}},
		{"an encryption key beside", jwks(jwk("x").with(fields{"use": "enc"}), jwk("a")), []string{"a"}},
		{"a key for another algorithm beside", jwks(jwk("x").with(fields{"alg": "Ed448"}), jwk("a")), []string{"a"}},
		{"a signing-only key beside", jwks(jwk("x").with(fields{"key_ops": []string{"sign"}}), jwk("a")), []string{"a"}},
		{"a key without kid beside", jwks(jwk("x").with(fields{"kid": nil}), jwk("a")), []string{"a"}},
		{"a key without x beside", jwks(jwk("x").with(fields{"x": nil}), jwk("a")), []string{"a"}},
		{"a key of 31 bytes beside", jwks(jwk("x").with(fields{"x": encode(strings.Repeat("x", 31))}), jwk("a")), []string{"a"}},
		{"a low-order point beside", jwks(jwk("x").with(fields{"x": encode("\x01" + strings.Repeat("\x00", 31))}), jwk("a")), []string{"a"}},
		{"a padded x beside", jwks(jwk("x").with(fields{"x": encode(string(testPublic)) + "="}), jwk("a")), []string{"a"}},
		{"a key with its private half beside", jwks(jwk("x").with(fields{"d": encode(string(testKey.Seed()))}), jwk("a")), []string{"a"}},
		{"entries that are no keys beside", `{"keys":[1,null,"x",[],` + jwk("a").json() + `]}`, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := token.ParseKeySet([]byte(tt.jwks))
			if err != nil {
				t.Fatalf("ParseKeySet: %v", err)
			}
			if set.Len() != len(tt.kids) {
				t.Errorf("%d keys, want %d", set.Len(), len(tt.kids))
			}
			for _, kid := range tt.kids {
				if key, err := set.PublicKey(kid); err != nil || !key.Equal(testPublic) {
					t.Errorf("PublicKey(%q) = %x, %v", kid, key, err)
				}
			}
			if _, err := set.PublicKey("x"); !errors.Is(err, token.ErrUnknownKey) {
				t.Errorf("PublicKey(x) = %v, want ErrUnknownKey", err)
			}
		})
	}
}

func TestParseKeySetRefuses(t *testing.T) {
	tests := []struct{ name, jwks string }{
		{"nothing", ""},
		{"an HTML page", "<html></html>"},
		{"a list", "[]"},
		{"null", "null"},
		{"no keys member", "{}"},
		{"keys null", `{"keys":null}`},
		{"keys an object", `{"keys":{}}`},
		{"keys of another case", strings.Replace(jwks(jwk("a")), "keys", "Keys", 1)},
		{"no key", `{"keys":[]}`},
		{"no usable key", jwks(fields{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"})},
		{"two keys of one kid", jwks(jwk("a"), jwk("b"), jwk("a"))},
		{"keys twice", `{"keys":[` + jwk("a").json() + `],"keys":[` + jwk("b").json() + `]}`},
		{"a member of a key twice", strings.Replace(jwks(jwk("a")), `"kid":"a"`, `"kid":"a","kid":"b"`, 1)},
		{"trailing bytes", jwks(jwk("a")) + "x"},
		{"cut short", jwks(jwk("a"))[:80]},
		{"too large", jwks(jwk("a")) + strings.Repeat(" ", token.MaxKeySetSize)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if set, err := token.ParseKeySet([]byte(tt.jwks)); err == nil || set.Len() != 0 {
				t.Errorf("ParseKeySet = %d keys, %v; want an error", set.Len(), err)
			}
		})
	}
}

func TestKeySetJSON(t *testing.T) {
	set := token.NewKeySet(map[string]ed25519.PublicKey{"b": testPublic, "a": testPublic, "": testPublic, "short": testPublic[:5]})
	want := fmt.Sprintf(`{"keys":[`+
		`{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"a","x":"%[1]s"},`+
		`{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"b","x":"%[1]s"}]}`, encode(string(testPublic)))
	if got := string(set.JSON()); got != want {
		t.Errorf("JSON = %s\nwant   %s", got, want)
	}
	parsed, err := token.ParseKeySet(set.JSON())
	if err != nil || !bytes.Equal(parsed.JSON(), set.JSON()) {
		t.Errorf("read back: %s, %v", parsed.JSON(), err)
	}
	if got := string(token.KeySet{}.JSON()); got != `{"keys":[]}` {
		t.Errorf("empty set: %s", got)
	}
}

func TestKeySetIsImmutable(t *testing.T) {
	key := bytes.Clone(testPublic)
	keys := map[string]ed25519.PublicKey{"a": key}
	set := token.NewKeySet(keys)
	key[0] ^= 1
	delete(keys, "a")
	if got, err := set.PublicKey("a"); err != nil || !got.Equal(testPublic) {
		t.Errorf("PublicKey = %x, %v; want the key as it was", got, err)
	}
}

func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(jwks(jwk("a"), jwk("b"))))
	f.Add([]byte(jwks(jwk("a"), jwk("a"))))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := token.ParseKeySet(data)
		if err != nil {
			if set.Len() != 0 {
				t.Fatal("keys and an error")
			}
			return
		}
		if set.Len() == 0 || !json.Valid(data) {
			t.Fatalf("accepted %q", data)
		}
		again, err := token.ParseKeySet(set.JSON())
		if err != nil || !bytes.Equal(again.JSON(), set.JSON()) {
			t.Fatalf("written and read back: %v", err)
		}
	})
}
