package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// MaxLeeway is the largest difference of clocks that a Verifier can be told to
// allow for.
const MaxLeeway = 60 * time.Second

// PasswordAudience is the aud of a token that a one-time password buys, in
// place of audience. A verifier that was not told of it refuses such a token,
// so it opens nothing but the change of password.
func PasswordAudience(audience string) string { return audience + "/password" }

// VerifierConfig configures a Verifier. Every field but AlsoAudience and Leeway is required.
type VerifierConfig struct {
	Issuer   string // the only iss that is accepted
	Audience string // what aud must be, or hold
	// AlsoAudience, when not empty, is accepted in place of Audience. It is for
	// whoever serves the change of password (see PasswordAudience).
	AlsoAudience string
	Leeway       time.Duration // how far clocks may differ, 0 to MaxLeeway
	Keys         KeySource
	Now          func() time.Time
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct{ cfg VerifierConfig }

// NewVerifier returns a Verifier, or an error that names every wrong field.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	err := errors.Join(
		required("Issuer", cfg.Issuer != ""),
		required("Audience", cfg.Audience != ""),
		required("Keys", cfg.Keys != nil),
		required("Now", cfg.Now != nil),
	)
	if cfg.Leeway < 0 || cfg.Leeway > MaxLeeway {
		err = errors.Join(err, fmt.Errorf("leeway %v is not between 0 and %v", cfg.Leeway, MaxLeeway))
	}
	if err != nil {
		return nil, fmt.Errorf("token verifier: %w", err)
	}
	return &Verifier{cfg: cfg}, nil
}

// Verify returns the claims of a token that is good now, or an error that wraps
// the reason's sentinel. No error holds any byte of the token.
//
// The order is by cost and trust: size and structure, then the header, which
// names the key, then the signature, and only then the claims.
func (v *Verifier) Verify(raw string) (Claims, error) {
	parts, err := split(raw)
	if err != nil {
		return Claims{}, err
	}
	kid, err := parseHeader(parts.header)
	if err != nil {
		return Claims{}, err
	}
	if len(parts.signature) != ed25519.SignatureSize {
		return Claims{}, fmt.Errorf("%w: not of %d bytes", ErrSignature, ed25519.SignatureSize)
	}
	key, err := v.cfg.Keys.PublicKey(kid)
	if err != nil {
		return Claims{}, fmt.Errorf("find key: %w", err)
	}
	if err := verifySignature(raw, key); err != nil {
		return Claims{}, err
	}
	claims, audience, err := parseClaims(parts.payload)
	if err != nil {
		return Claims{}, err
	}
	claims.KeyID = kid
	if claims.Issuer != v.cfg.Issuer {
		return Claims{}, ErrIssuer
	}
	switch {
	case slices.Contains(audience, v.cfg.Audience):
		claims.Audience = v.cfg.Audience
	case v.cfg.AlsoAudience != "" && slices.Contains(audience, v.cfg.AlsoAudience):
		claims.Audience = v.cfg.AlsoAudience
	default:
		return Claims{}, ErrAudience
	}
	if err := v.checkTimes(claims); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// GoodUntil returns the time from which Verify refuses a token with these
// claims, for whoever remembers that one was accepted.
func (v *Verifier) GoodUntil(c Claims) time.Time { return c.Expires.Add(v.cfg.Leeway) }

// checkTimes compares the token's times with the clock. A token that outlives
// Lifetime is not one of ours, and revocations are not remembered for longer.
func (v *Verifier) checkTimes(c Claims) error {
	if life := c.Expires.Sub(c.IssuedAt); life <= 0 || life > Lifetime {
		return fmt.Errorf("%w: exp is not within %v after iat", ErrMalformed, Lifetime)
	}
	now := v.cfg.Now()
	if !now.Before(v.GoodUntil(c)) {
		return ErrExpired
	}
	latest := now.Add(v.cfg.Leeway)
	if c.NotBefore.After(latest) || c.IssuedAt.After(latest) {
		return ErrNotYetValid
	}
	return nil
}

// segments are the decoded parts of a compact serialization.
type segments struct{ header, payload, signature []byte }

// split decodes the three segments of a compact serialization (RFC 7515
// section 7.1), each of which must be the one encoding of its bytes.
func split(raw string) (segments, error) {
	if len(raw) > MaxSize {
		return segments{}, fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxSize)
	}
	if strings.Count(raw, ".") != 2 {
		return segments{}, fmt.Errorf("%w: not three segments", ErrMalformed)
	}
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	var s segments
	var ok bool
	if s.header, ok = decodeSegment(header); !ok {
		return segments{}, fmt.Errorf("%w: header is not base64url", ErrMalformed)
	}
	if s.payload, ok = decodeSegment(payload); !ok {
		return segments{}, fmt.Errorf("%w: claims are not base64url", ErrMalformed)
	}
	if s.signature, ok = decodeSegment(signature); !ok {
		return segments{}, fmt.Errorf("%w: signature is not base64url", ErrMalformed)
	}
	return s, nil
}

var strictEncoding = base64.RawURLEncoding.Strict()

// decodeSegment decodes base64url without padding and refuses what does not
// encode to itself again: the lenient decoder ignores the unused bits of the
// last character, and even the strict one skips line breaks.
func decodeSegment(s string) ([]byte, bool) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	data, err := strictEncoding.DecodeString(s)
	return data, err == nil
}

// verifySignature checks the signature with a key that was found by kid, never
// with one that the token brings along.
func verifySignature(raw string, key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: key source returned no Ed25519 key", ErrUnknownKey)
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return fmt.Errorf("%w: not a JWS", ErrMalformed)
	}
	if _, err := jws.Verify(key); err != nil {
		return ErrSignature
	}
	return nil
}
