package token_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/earlybird/earlybird/identity/token"
)

// vectors are public test vectors that lie beside the project, not in it.
const vectors = "../../../shared/vectors"

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no vectors: %v", err)
	}
	if err != nil {
		t.Fatalf("read vectors: %v", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("parse vectors: %v", err)
	}
}

type ed25519Vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		PublicKeyJwk json.RawMessage
		Tests        []struct {
			TCID             int `json:"tcId"`
			Comment          string
			Msg, Sig, Result string
		}
	}
}

// TestWycheproofEd25519 holds the signature check against Wycheproof. Its
// messages are no JWS signing inputs, which is all that go-jose takes: they go,
// with the key as go-jose read it, to the one function that go-jose calls for
// EdDSA. That go-jose's own path refuses each signature over something else,
// whatever its shape, is checked as well.
func TestWycheproofEd25519(t *testing.T) {
	var v ed25519Vectors
	readVectors(t, "wycheproof-ed25519.json", &v)
	ran := 0
	for _, group := range v.TestGroups {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(group.PublicKeyJwk); err != nil {
			t.Fatalf("key %s: %v", group.PublicKeyJwk, err)
		}
		key := jwk.Key.(ed25519.PublicKey)
		for _, tc := range group.Tests {
			ran++
			t.Run(strconv.Itoa(tc.TCID), func(t *testing.T) {
				msg, sig := unhex(t, tc.Msg), unhex(t, tc.Sig)
				if got, want := ed25519.Verify(key, msg, sig), tc.Result == "valid"; got != want {
					t.Errorf("%s: verified %v, want %v", tc.Comment, got, want)
				}
				refusedAsJWS(t, key, msg, sig)
			})
		}
	}
	if ran != v.NumberOfTests || ran == 0 {
		t.Errorf("ran %d cases of %d", ran, v.NumberOfTests)
	}
}

func refusedAsJWS(t *testing.T, key ed25519.PublicKey, msg, sig []byte) {
	t.Helper()
	raw := encode(goodHeader().json()) + "." + encode(string(msg)) + "." + encode(string(sig))
	if jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA}); err == nil {
		if _, err := jws.Verify(key); err == nil {
			t.Error("go-jose verified a signature over something else")
		}
	}
	keys := token.NewKeySet(map[string]ed25519.PublicKey{testKID: key})
	if _, err := newVerifier(t, testNow, keys).Verify(raw); err == nil {
		t.Error("Verify accepted a signature over something else")
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("vector: %v", err)
	}
	return data
}

// TestWycheproofJWS gives the Verifier every JWS of Wycheproof: none of them is
// EdDSA, so none may pass, those that are valid by their own key included.
func TestWycheproofJWS(t *testing.T) {
	var v struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TCID    int `json:"tcId"`
				Comment string
				JWS     json.RawMessage
			}
		}
	}
	readVectors(t, "wycheproof-jws.json", &v)
	verifier := newVerifier(t, testNow, testKeys)
	ran := 0
	for _, group := range v.TestGroups {
		for _, tc := range group.Tests {
			ran++
			raw := string(tc.JWS)
			if err := json.Unmarshal(tc.JWS, &raw); err != nil {
				raw = string(tc.JWS) // a JSON serialization
			}
			claims, err := verifier.Verify(raw)
			if !errors.Is(err, token.ErrMalformed) && !errors.Is(err, token.ErrAlgorithm) {
				t.Errorf("case %d, %s: Verify = %+v, %v; want it refused before any key is looked at", tc.TCID, tc.Comment, claims, err)
			}
		}
	}
	if ran != v.NumberOfTests || ran == 0 {
		t.Errorf("ran %d cases of %d", ran, v.NumberOfTests)
	}
}

// TestRFC8037 checks the signature of RFC 8037 appendix A.4, with the key read
// by ParseKeySet, and that a token without typ is not taken for one of ours.
func TestRFC8037(t *testing.T) {
	var v struct {
		Input struct {
			Payload string
			Key     fields
		}
		Output struct{ Compact string }
	}
	readVectors(t, "rfc8037-jws.json", &v)
	set, err := token.ParseKeySet([]byte(jwks(v.Input.Key.with(fields{"d": nil, "kid": "rfc8037"}))))
	if err != nil {
		t.Fatalf("ParseKeySet: %v", err)
	}
	key, err := set.PublicKey("rfc8037")
	if err != nil {
		t.Fatalf("PublicKey: %v", err)
	}
	jws, err := jose.ParseSignedCompact(v.Output.Compact, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	payload, err := jws.Verify(key)
	if err != nil || string(payload) != v.Input.Payload {
		t.Errorf("Verify = %q, %v; want %q", payload, err, v.Input.Payload)
	}
	if _, err := newVerifier(t, testNow, set).Verify(v.Output.Compact); !errors.Is(err, token.ErrType) {
		t.Errorf("Verifier = %v, want ErrType", err)
	}
}
