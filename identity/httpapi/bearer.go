package httpapi

import (
	"errors"
	"net/http"

	"github.com/earlybird/earlybird/identity/token"
)

// authenticate returns the claims of a request's valid access token.
func (b *Backend) authenticate(r *http.Request) (token.Claims, error) {
	return b.admit(r, token.Demand{Audience: b.Audience})
}

// authenticatePassword also accepts the token of a one-time password. It is only
// for changing the password.
func (b *Backend) authenticatePassword(r *http.Request) (token.Claims, error) {
	return b.admit(r, token.Demand{Audience: b.Audience, AlsoAudience: token.PasswordAudience(b.Audience)})
}

// authenticateAgain also accepts a token whose logout was answered with 503 because
// the edges could not be reached: it may be repeated.
func (b *Backend) authenticateAgain(r *http.Request) (token.Claims, error) {
	claims, err := b.authenticate(r)
	if errors.Is(err, token.ErrRevoked) && b.Revocations.Pending(claims.ID) {
		return claims, nil
	}
	return claims, err
}

// admit verifies the token of a request, and fails when it was ended.
func (b *Backend) admit(r *http.Request, d token.Demand) (token.Claims, error) {
	claims, err := b.bearer(r, d)
	if err != nil {
		return token.Claims{}, err
	}
	return claims, b.Revocations.Check(claims)
}

// bearer verifies the one token of a request. Of two Authorization lines a proxy
// might read one and this service the other: they are refused, as Kong does.
func (b *Backend) bearer(r *http.Request, demand token.Demand) (token.Claims, error) {
	lines := r.Header.Values("Authorization")
	if len(lines) > 1 {
		return token.Claims{}, problem(http.StatusBadRequest, "Send one Authorization header.").
			with("WWW-Authenticate", token.Challenge+`, error="invalid_request", error_description="More than one Authorization header"`)
	}
	if len(lines) == 0 {
		return token.Claims{}, token.ErrNoToken
	}
	raw, err := token.ParseAuthorization(lines[0])
	if err != nil {
		return token.Claims{}, err
	}
	return b.Verifier.Verify(raw, demand)
}
