package token_test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

func TestRefusalOf(t *testing.T) {
	const invalid = `Bearer realm="earlybird", error="invalid_token", error_description="The `
	tests := []struct {
		err       error
		reason    string
		status    int
		challenge string
	}{
		{token.ErrNoToken, "no_token", 401, `Bearer realm="earlybird"`},
		{token.ErrMalformed, "malformed", 401, invalid + `token is malformed"`},
		{token.ErrAlgorithm, "algorithm", 401, invalid + `token is not signed with EdDSA"`},
		{token.ErrType, "type", 401, invalid + `token is not an access token (typ at+jwt)"`},
		{token.ErrSignature, "signature", 401, invalid + `token signature is wrong"`},
		{token.ErrUnknownKey, "unknown_key", 401, invalid + `token is signed with an unknown key"`},
		{token.ErrIssuer, "issuer", 401, invalid + `token has another issuer"`},
		{token.ErrAudience, "audience", 401, invalid + `token is for another audience"`},
		{token.ErrExpired, "expired", 401, invalid + `token has expired"`},
		{token.ErrNotYetValid, "not_yet_valid", 401, invalid + `token is not valid yet"`},
		{token.ErrRevoked, "revoked", 401, invalid + `token was revoked"`},
		{token.ErrNoKeys, "unavailable", 503, ""},
		{token.ErrNotReady, "unavailable", 503, ""},
	}
	if len(tests) != len(token.Refusals()) {
		t.Errorf("%d refusals are tested, there are %d", len(tests), len(token.Refusals()))
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			r := token.RefusalOf(fmt.Errorf("wrapped: %w", tt.err))
			if r == nil || r.Reason != tt.reason || r.Status != tt.status || r.WWWAuthenticate != tt.challenge {
				t.Fatalf("got %+v", r)
			}
			if (r.RetryAfter > 0) != (tt.status == 503) || r.Title == "" || r.Detail == "" || r.Type == "" {
				t.Errorf("got %+v", r)
			}
			// RFC 6750 section 3: what error_description may hold.
			if !regexp.MustCompile(`^[\x20-\x21\x23-\x5b\x5d-\x7e]*$`).MatchString(tt.err.Error()) {
				t.Errorf("%q does not fit in error_description", tt.err)
			}
		})
	}
	for _, err := range []error{nil, errors.New("x")} {
		if r := token.RefusalOf(err); r != nil {
			t.Errorf("%v: %+v, want none", err, r)
		}
	}
}
