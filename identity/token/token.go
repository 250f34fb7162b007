// Package token issues and verifies Earlybird's access tokens: JWS compact
// serialization (RFC 7515) of a JWT (RFC 7519) in the access-token profile
// (RFC 9068), signed with Ed25519 (RFC 8037), checked by the rules of RFC 8725.
//
// It is imported by the identity service and by the plugins at the edge, so it
// imports no store and nothing of Kong.
package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"
)

// Lifetime is how long a token is valid after it was issued.
const Lifetime = 30 * time.Minute

// MaxSize is the largest token, in bytes, that is looked at.
const MaxSize = 4 << 10

// Claims are the claims of a token. Times have whole seconds.
type Claims struct {
	Issuer     string    // iss
	Subject    string    // sub: the user's id
	Audience   string    // aud
	ClientID   string    // client_id (RFC 9068 section 2.2)
	IssuedAt   time.Time // iat
	NotBefore  time.Time // nbf
	Expires    time.Time // exp
	ID         string    // jti
	Generation int64     // gen: the user's generation when this token was issued
	KeyID      string    // kid of the key that signed it, from the header
}

// The reasons for which a token is refused; compare with errors.Is. RefusalOf
// has the answer to each. All but ErrNoKeys and ErrNotReady are the client's
// fault (401); those two are ours (503).
var (
	ErrMalformed   = errors.New("token is malformed")
	ErrAlgorithm   = errors.New("token is not signed with EdDSA")
	ErrType        = errors.New("token is not an access token (typ at+jwt)")
	ErrSignature   = errors.New("token signature is wrong")
	ErrUnknownKey  = errors.New("token is signed with an unknown key")
	ErrIssuer      = errors.New("token has another issuer")
	ErrAudience    = errors.New("token is for another audience")
	ErrExpired     = errors.New("token has expired")
	ErrNotYetValid = errors.New("token is not valid yet")
	ErrNoKeys      = errors.New("no verification key is known yet")

	// These two come from package revocation, not from Verify.
	ErrRevoked  = errors.New("token was revoked")
	ErrNotReady = errors.New("revocations are not known yet") // any token may be revoked
)

// errTooLarge refuses a token before its structure is looked at.
var errTooLarge = fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxSize)

// ErrNoToken reports a request without a bearer token: no Authorization
// header, or one of another scheme. RFC 6750 section 3.1 wants no error code in
// the answer to it.
var ErrNoToken = errors.New("no bearer token was sent")

// KeySource finds the public key that a token's kid names.
type KeySource interface {
	// PublicKey returns the key, ErrUnknownKey when the source has keys but not
	// this one, or ErrNoKeys when it never had any. It does not block.
	PublicKey(kid string) (ed25519.PublicKey, error)
}
