package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// MaxKeySetSize is the largest JSON Web Key Set, in bytes, that is looked at.
const MaxKeySetSize = 64 << 10

// KeySet is an immutable set of verification keys by kid. The zero value is
// empty. It is a KeySource.
type KeySet struct{ keys map[string]ed25519.PublicKey }

// NewKeySet returns a set of these keys. A key without a kid or of a wrong size
// is left out, since nothing could be verified with it.
func NewKeySet(keys map[string]ed25519.PublicKey) KeySet {
	set := KeySet{keys: make(map[string]ed25519.PublicKey, len(keys))}
	for kid, key := range keys {
		if kid != "" && len(key) == ed25519.PublicKeySize {
			set.keys[kid] = bytes.Clone(key)
		}
	}
	return set
}

// ParseKeySet reads a JSON Web Key Set (RFC 7517 section 5). Keys that are not
// Ed25519 signature keys with a kid are ignored, as the standard wants. It is
// an error when no key is left, when two of them share a kid, or when jwks is
// over MaxKeySetSize or no key set at all.
func ParseKeySet(jwks []byte) (KeySet, error) {
	if len(jwks) > MaxKeySetSize {
		return KeySet{}, fmt.Errorf("key set is over %d bytes", MaxKeySetSize)
	}
	set, err := parseObject(jwks)
	if err != nil {
		return KeySet{}, fmt.Errorf("key set: %w", err)
	}
	entries, ok := set["keys"].([]any)
	if !ok {
		return KeySet{}, errors.New("key set has no list of keys")
	}
	keys := make(map[string]ed25519.PublicKey, len(entries))
	for _, entry := range entries {
		kid, key, ok := parseKey(entry)
		if !ok {
			continue
		}
		if _, taken := keys[kid]; taken {
			return KeySet{}, errors.New("key set has two keys of one kid")
		}
		keys[kid] = key
	}
	if len(keys) == 0 {
		return KeySet{}, errors.New("key set has no Ed25519 signature key")
	}
	return KeySet{keys: keys}, nil
}

// parseKey reads one JWK. It is not ok unless the key may be used to verify
// EdDSA signatures; one published with its private half may not.
func parseKey(entry any) (kid string, key ed25519.PublicKey, ok bool) {
	members, _ := entry.(map[string]any)
	jwk := object(members)
	if !jwk.isVerificationKey() {
		return "", nil, false
	}
	kid, ok = jwk.text("kid")
	if !ok {
		return "", nil, false
	}
	if x, ok := jwk.text("x"); !ok {
		return "", nil, false
	} else if _, ok := decodeSegment(x); !ok {
		return "", nil, false
	}
	data, err := json.Marshal(members)
	if err != nil {
		return "", nil, false
	}
	var parsed jose.JSONWebKey // knows the low-order points that must not verify anything
	if err := parsed.UnmarshalJSON(data); err != nil {
		return "", nil, false
	}
	key, ok = parsed.Key.(ed25519.PublicKey)
	return kid, key, ok
}

// isVerificationKey checks what RFC 8037 section 2 and RFC 7517 sections 4.2 to
// 4.4 say of a key's purpose. use, key_ops and alg are optional.
func (o object) isVerificationKey() bool {
	if kty, _ := o.text("kty"); kty != "OKP" {
		return false
	}
	if crv, _ := o.text("crv"); crv != "Ed25519" {
		return false
	}
	for name, want := range map[string]string{"use": "sig", "alg": algorithm} {
		if _, there := o[name]; there {
			if got, _ := o.text(name); got != want {
				return false
			}
		}
	}
	if ops, there := o["key_ops"]; there {
		list, _ := ops.([]any)
		return slices.Contains(list, any("verify"))
	}
	return true
}

// Len returns the number of keys.
func (s KeySet) Len() int { return len(s.keys) }

// PublicKey implements KeySource. An empty set has no keys yet: ErrNoKeys.
func (s KeySet) PublicKey(kid string) (ed25519.PublicKey, error) {
	if len(s.keys) == 0 {
		return nil, ErrNoKeys
	}
	key, ok := s.keys[kid]
	if !ok {
		return nil, ErrUnknownKey
	}
	return key, nil
}

// publicJWK is how a key is written (RFC 8037 section 2).
type publicJWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	X         string `json:"x"`
}

// JSON returns the set as a JSON Web Key Set, ordered by kid.
func (s KeySet) JSON() []byte {
	set := struct {
		Keys []publicJWK `json:"keys"`
	}{Keys: []publicJWK{}}
	for _, kid := range slices.Sorted(maps.Keys(s.keys)) {
		set.Keys = append(set.Keys, publicJWK{
			KeyType: "OKP", Curve: "Ed25519", Use: "sig", Algorithm: algorithm,
			KeyID: kid, X: base64.RawURLEncoding.EncodeToString(s.keys[kid]),
		})
	}
	data, err := json.Marshal(set)
	if err != nil {
		panic(fmt.Sprintf("token: strings that do not marshal: %v", err)) // cannot happen
	}
	return data
}
