package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
)

// Verifier checks a token; *token.Verifier implements it.
type Verifier interface {
	Verify(raw string, d token.Demand) (token.Claims, error)
}

// Resolver finds out the outcome of a login; *mirror.Resolver implements it. It bounds
// its own time, and returns campaign.StatusPending when it cannot tell.
type Resolver interface {
	Resolve(ctx context.Context, user string, at campaign.Place) mirror.Outcome
}

// tagger decides what the response to a successful login says about the promotion.
// It does not depend on Kong. It is safe for concurrent use. Without a resolver, a
// login that has a place is answered with pending.
type tagger struct {
	verifier Verifier
	audience string // of access tokens
	resolver Resolver
	log      *slog.Logger
}

// tag returns the outcome for the client. It is the status in identity's response
// header; for a login that has a place in the log, it is what the mirror holds of
// the user. body returns the response's body, which holds the token.
//
// The login has succeeded whatever goes wrong here. If identity's header is missing
// or unreadable, the outcome is campaign.StatusRetry, since the login may not have
// counted. If the login has a place, the outcome of a failure is
// campaign.StatusPending.
func (t *tagger) tag(ctx context.Context, header string, body func() ([]byte, error)) mirror.Outcome {
	pending := mirror.Outcome{Status: campaign.StatusPending}
	placement := edge.ParsePlacement(header)
	if placement.Status != campaign.StatusPending {
		if placement.Status == campaign.StatusRetry {
			t.log.WarnContext(ctx, "identity did not say that the login counted", slog.String("status", header))
		}
		return mirror.Outcome{Status: placement.Status}
	}
	if t.resolver == nil {
		return pending
	}
	claims, err := t.claims(body)
	if err != nil {
		t.log.WarnContext(ctx, "login response holds no token to look up", slog.Any("err", err))
		return pending
	}
	return t.resolver.Resolve(ctx, claims.Subject, placement.Place)
}

var errBody = errors.New("body is not an object with a token")

// claims returns the claims of the token in the body. Errors contain no part of
// the body.
func (t *tagger) claims(body func() ([]byte, error)) (token.Claims, error) {
	raw, err := body()
	if err != nil {
		return token.Claims{}, err
	}
	var login struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(raw, &login) != nil || login.Token == "" {
		return token.Claims{}, errBody
	}
	return t.verifier.Verify(login.Token, token.Demand{Audience: t.audience})
}
