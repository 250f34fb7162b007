package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxLeeway is the largest difference of clocks that a Verifier can allow for.
const MaxLeeway = 60 * time.Second

// PasswordAudience is the aud of a token that a one-time password buys, in
// place of audience. Only a Demand that names it accepts such a token, so it
// opens nothing but the change of password.
func PasswordAudience(audience string) string { return audience + "/password" }

// VerifierConfig configures a Verifier. Every field but Leeway is required.
type VerifierConfig struct {
	Issuer string        // the only iss that is accepted
	Leeway time.Duration // how far clocks may differ, 0 to MaxLeeway
	Keys   KeySource
	Now    func() time.Time
}

// Demand is what one route asks of a token beyond being valid. It is checked
// for each request, so that routes with different demands share a Cache. The
// zero value accepts no token.
type Demand struct {
	Audience string // what aud must be, or hold
	// AlsoAudience, when not empty, is accepted in place of Audience. Only the
	// route that changes a password sets it (see PasswordAudience).
	AlsoAudience string
}

// meet returns the element of audience that d accepts, or ErrAudience. No
// element is empty: parseClaims refuses such a token.
func (d Demand) meet(audience []string) (string, error) {
	if slices.Contains(audience, d.Audience) {
		return d.Audience, nil
	}
	if slices.Contains(audience, d.AlsoAudience) {
		return d.AlsoAudience, nil
	}
	return "", ErrAudience
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct{ cfg VerifierConfig }

// NewVerifier returns a Verifier. It fails when the leeway is out of its range.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if cfg.Leeway < 0 || cfg.Leeway > MaxLeeway {
		return nil, fmt.Errorf("token verifier: leeway %v is not between 0 and %v", cfg.Leeway, MaxLeeway)
	}
	return &Verifier{cfg: cfg}, nil
}

// Verify returns the claims of a token that is valid now and meets d, or an
// error that wraps the reason's sentinel. No error holds any byte of the token.
// Claims.Audience is the audience that d accepted.
func (v *Verifier) Verify(raw string, d Demand) (Claims, error) {
	good, err := v.verify(raw)
	if err != nil {
		return Claims{}, err
	}
	if good.claims.Audience, err = d.meet(good.audience); err != nil {
		return Claims{}, err
	}
	return good.claims, nil
}

// verified is a token that is valid, whoever it is for.
type verified struct {
	claims   Claims // without Audience
	audience []string
	key      ed25519.PublicKey // that verified it
}

// verify checks everything but a Demand. The order is by cost and trust: size
// and structure, then the header, which names the key, then the signature, and
// only then the claims.
func (v *Verifier) verify(raw string) (verified, error) {
	parts, err := split(raw)
	if err != nil {
		return verified{}, err
	}
	kid, err := parseHeader(parts.header)
	if err != nil {
		return verified{}, err
	}
	if len(parts.signature) != ed25519.SignatureSize {
		return verified{}, fmt.Errorf("%w: not of %d bytes", ErrSignature, ed25519.SignatureSize)
	}
	// The key is found by kid, never taken from what the token brings along.
	key, err := v.cfg.Keys.PublicKey(kid)
	if err != nil {
		return verified{}, fmt.Errorf("find key: %w", err)
	}
	if len(key) != ed25519.PublicKeySize {
		return verified{}, fmt.Errorf("%w: key source returned no Ed25519 key", ErrUnknownKey)
	}
	if !ed25519.Verify(key, []byte(parts.input), parts.signature) {
		return verified{}, ErrSignature
	}
	claims, audience, err := parseClaims(parts.payload)
	if err != nil {
		return verified{}, err
	}
	claims.KeyID = kid
	if claims.Issuer != v.cfg.Issuer {
		return verified{}, ErrIssuer
	}
	if err := v.checkTimes(claims); err != nil {
		return verified{}, err
	}
	return verified{claims: claims, audience: audience, key: key}, nil
}

// goodUntil returns the time from which verify refuses a token with these
// claims.
func (v *Verifier) goodUntil(c Claims) time.Time { return c.Expires.Add(v.cfg.Leeway) }

// checkTimes compares the token's times with the clock. A token that outlives
// Lifetime is not one of ours, and revocations are not remembered for longer.
func (v *Verifier) checkTimes(c Claims) error {
	if life := c.Expires.Sub(c.IssuedAt); life <= 0 || life > Lifetime {
		return fmt.Errorf("%w: exp is not within %v after iat", ErrMalformed, Lifetime)
	}
	now := v.cfg.Now()
	if !now.Before(v.goodUntil(c)) {
		return ErrExpired
	}
	latest := now.Add(v.cfg.Leeway)
	if c.NotBefore.After(latest) || c.IssuedAt.After(latest) {
		return ErrNotYetValid
	}
	return nil
}

// segments are the decoded parts of a compact serialization.
type segments struct {
	input                      string // that was signed: the first two segments as sent (RFC 7515 section 5.2)
	header, payload, signature []byte
}

// split decodes the three segments of a compact serialization (RFC 7515
// section 7.1), each of which must be the one encoding of its bytes.
func split(raw string) (segments, error) {
	if len(raw) > MaxSize {
		return segments{}, errTooLarge
	}
	if strings.Count(raw, ".") != 2 {
		return segments{}, fmt.Errorf("%w: not three segments", ErrMalformed)
	}
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	s := segments{input: raw[:len(header)+1+len(payload)]}
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
