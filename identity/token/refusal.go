package token

import (
	"errors"
	"net/http"
	"time"
)

// Challenge is the WWW-Authenticate of an answer to a request that brought no
// token (RFC 6750 section 3). With an error code more parameters follow.
const Challenge = `Bearer realm="earlybird"`

// Types of the problems (RFC 9457) that a Refusal is answered with.
const (
	TypeUnauthorized = "tag:earlybird.example,2026:unauthorized"
	TypeUnavailable  = "tag:earlybird.example,2026:unavailable"
)

// Refusal is the answer to a request whose token was not accepted, the same at
// the edge and from identity. It holds nothing that the client sent.
type Refusal struct {
	Err    error  // the reason, for errors.Is
	Reason string // the reason as one word, for metrics
	Status int    // 401, or 503 when tokens cannot be checked now

	// The problem document (RFC 9457).
	Type, Title, Detail string

	WWWAuthenticate string        // of a 401 (RFC 6750 section 3)
	RetryAfter      time.Duration // of a 503, whole seconds
}

// retryAfter is long enough to spare what does not answer, and short enough for
// a person to wait.
const retryAfter = 2 * time.Second

// refusals are in the order in which they are looked for.
var refusals = []*Refusal{
	// Without an error code (RFC 6750 section 3.1).
	unauthorized(ErrNoToken, "no_token", "", "Send an access token: Authorization: Bearer <token>."),
	unavailable(ErrNoKeys),
	unavailable(ErrNotReady),
	invalidToken(ErrExpired, "expired"),
	invalidToken(ErrNotYetValid, "not_yet_valid"),
	invalidToken(ErrIssuer, "issuer"),
	invalidToken(ErrAudience, "audience"),
	invalidToken(ErrType, "type"),
	invalidToken(ErrAlgorithm, "algorithm"),
	invalidToken(ErrUnknownKey, "unknown_key"),
	invalidToken(ErrSignature, "signature"),
	// Also credentials that are no token at all: RFC 6750 section 3.1 counts the
	// malformed ones among the invalid.
	invalidToken(ErrMalformed, "malformed"),
	invalidToken(ErrRevoked, "revoked"),
}

// RefusalOf returns the refusal for an error of this package, or nil when err
// is something else.
func RefusalOf(err error) *Refusal {
	for _, r := range refusals {
		if errors.Is(err, r.Err) {
			return r
		}
	}
	return nil
}

// Refusals returns all there are.
func Refusals() []*Refusal { return append([]*Refusal(nil), refusals...) }

// invalidToken describes err in error_description. No error's text has a
// character that RFC 6750 section 3 excludes there.
func invalidToken(err error, reason string) *Refusal {
	return unauthorized(err, reason, `, error="invalid_token", error_description="The `+err.Error()+`"`,
		"The "+err.Error()+"; log in again.")
}

func unauthorized(err error, reason, parameters, detail string) *Refusal {
	return &Refusal{
		Err: err, Reason: reason, Status: http.StatusUnauthorized,
		Type: TypeUnauthorized, Title: "A valid access token is needed", Detail: detail,
		WWWAuthenticate: Challenge + parameters,
	}
}

func unavailable(err error) *Refusal {
	return &Refusal{
		Err: err, Reason: "unavailable", Status: http.StatusServiceUnavailable,
		Type: TypeUnavailable, Title: "Not available", Detail: "Something this needs does not answer; try again.",
		RetryAfter: retryAfter,
	}
}
