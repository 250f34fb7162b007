package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
)

// Problem is an error response as application/problem+json (RFC 9457), in the
// words of the identity service. It never holds anything the client sent.
type Problem struct {
	Status int
	Reason string // for metrics: a fixed word
	Header map[string][]string
	Body   []byte
}

const realm = `Bearer realm="earlybird"`

// RetryAfter is what a 503 asks the client to wait.
const RetryAfter = 2 * time.Second

// document is the body of a problem.
type document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// The problems that are not about a token that was sent.
var (
	// NoToken answers a request without an access token: 401 without an error
	// code (RFC 6750 section 3.1).
	NoToken = unauthorized("no_token", realm, "Send an access token: Authorization: Bearer <token>.")
	// Unavailable answers while tokens cannot be checked: 503 with Retry-After.
	Unavailable = newProblem("unavailable", document{
		Type: "tag:earlybird.example,2026:unavailable", Title: "Not available",
		Status: http.StatusServiceUnavailable, Detail: "Something this needs does not answer; try again.",
	}, "Retry-After", strconv.Itoa(int(RetryAfter.Seconds())))
	// Failed answers when the plugin itself has failed: 500, and nothing passes.
	Failed = newProblem("failed", document{
		Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError),
		Status: http.StatusInternalServerError, Detail: "Something went wrong here.",
	}, "", "")
)

// refusals are the problems of a token that was sent, by the error of package
// token or revocation that refused it.
var refusals = []struct {
	err     error
	problem *Problem
}{
	{token.ErrExpired, invalidToken("expired", token.ErrExpired)},
	{token.ErrNotYetValid, invalidToken("not_yet_valid", token.ErrNotYetValid)},
	{token.ErrIssuer, invalidToken("issuer", token.ErrIssuer)},
	{token.ErrAudience, invalidToken("audience", token.ErrAudience)},
	{token.ErrType, invalidToken("type", token.ErrType)},
	{token.ErrAlgorithm, invalidToken("algorithm", token.ErrAlgorithm)},
	{token.ErrUnknownKey, invalidToken("unknown_key", token.ErrUnknownKey)},
	{token.ErrSignature, invalidToken("signature", token.ErrSignature)},
	{token.ErrMalformed, malformed},
	{revocation.ErrRevoked, invalidToken("revoked", revocation.ErrRevoked)},
}

var malformed = invalidToken("malformed", token.ErrMalformed)

// Refusal is the problem for an error of package token or revocation. A token refused for
// any reason, also credentials that are not even a token, is 401 with
// invalid_token: RFC 6750 section 3.1 counts the malformed ones among them.
func Refusal(err error) *Problem {
	switch {
	case errors.Is(err, token.ErrNoToken):
		return NoToken
	case errors.Is(err, token.ErrNoKeys), errors.Is(err, revocation.ErrNotReady):
		return Unavailable
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.problem
		}
	}
	return malformed
}

// Problems are all there are.
func Problems() []*Problem {
	all := []*Problem{NoToken, Unavailable, Failed}
	for _, r := range refusals {
		all = append(all, r.problem)
	}
	return all
}

func invalidToken(reason string, err error) *Problem {
	challenge := fmt.Sprintf(`%s, error="invalid_token", error_description="The %v"`, realm, err)
	return unauthorized(reason, challenge, fmt.Sprintf("The %v; log in again.", err))
}

func unauthorized(reason, challenge, detail string) *Problem {
	return newProblem(reason, document{
		Type: "tag:earlybird.example,2026:unauthorized", Title: "A valid access token is needed",
		Status: http.StatusUnauthorized, Detail: detail,
	}, "WWW-Authenticate", challenge)
}

func newProblem(reason string, d document, name, value string) *Problem {
	body, err := json.Marshal(d)
	if err != nil {
		panic(err) // four plain fields
	}
	header := map[string][]string{"Content-Type": {"application/problem+json"}}
	if name != "" {
		header[name] = []string{value}
	}
	return &Problem{Status: d.Status, Reason: reason, Header: header, Body: body}
}
