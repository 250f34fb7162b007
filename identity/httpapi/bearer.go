package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/earlybird/earlybird/identity/token"
)

type claimsKey struct{}

// authenticate lets a request through that carries a valid access token, and
// leaves its claims in the context.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	a.admitToken(ctx, next, token.Demand{Audience: a.backend.Load().Audience}, a.current)
}

// authenticatePassword also lets a token through that a one-time password has
// bought. It is for the change of password alone.
func (a *API) authenticatePassword(ctx huma.Context, next func(huma.Context)) {
	audience := a.backend.Load().Audience
	a.admitToken(ctx, next, token.Demand{Audience: audience, AlsoAudience: token.PasswordAudience(audience)}, a.current)
}

// current refuses a token that was ended.
func (a *API) current(c token.Claims) error { return a.backend.Load().Revocations.Check(c) }

// authenticateAgain also lets a token through that was ended while the edges
// could not be told: its logout was answered with 503, and may be repeated.
func (a *API) authenticateAgain(ctx huma.Context, next func(huma.Context)) {
	a.admitToken(ctx, next, token.Demand{Audience: a.backend.Load().Audience}, func(c token.Claims) error {
		revocations := a.backend.Load().Revocations
		err := revocations.Check(c)
		if errors.Is(err, token.ErrRevoked) && revocations.Pending(c.ID) {
			return nil
		}
		return err
	})
}

func (a *API) admitToken(ctx huma.Context, next func(huma.Context), demand token.Demand, check func(token.Claims) error) {
	r, w := humago.Unwrap(ctx)
	claims, err := a.bearer(r, demand)
	if err == nil {
		err = check(claims)
	}
	if err != nil {
		problemOf(a.fail(r.Context(), err)).write(w)
		return
	}
	next(huma.WithValue(ctx, claimsKey{}, claims))
}

// bearer verifies the one token of a request. Two Authorization lines could be
// read as either by whoever stands in between: they are refused, as Kong does.
func (a *API) bearer(r *http.Request, demand token.Demand) (token.Claims, error) {
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
	return a.backend.Load().Verifier.Verify(raw, demand)
}

// caller returns the claims that authenticate has left.
func caller(ctx context.Context) token.Claims {
	claims, _ := ctx.Value(claimsKey{}).(token.Claims)
	return claims
}
