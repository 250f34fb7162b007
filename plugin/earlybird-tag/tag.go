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

// Verifier checks a token; *token.Verifier is one.
type Verifier interface {
	Verify(raw string, d token.Demand) (token.Claims, error)
}

// Teller finds out what a login is told; *mirror.Teller is one. It bounds its own
// time and returns campaign.StatusPending for what cannot be told.
type Teller interface {
	Tell(ctx context.Context, user string, at campaign.Place) mirror.Outcome
}

// tagger decides what the response to a successful login says of the promotion.
// It knows nothing of Kong. It is safe for concurrent use. The zero value has a
// log and nothing to tell by: a login that has a place is pending then.
type tagger struct {
	verifier Verifier
	audience string // of access tokens
	teller   Teller
	log      *slog.Logger
}

// tag returns what the client is told: what identity's response header says, and
// for a login that has a place in the log what the mirror knows of its user. body
// returns the response's body, which holds the token.
//
// Whatever goes wrong, the login has succeeded. Without identity's word it is
// campaign.StatusRetry: it is not known whether the login counted. With a place it
// is campaign.StatusPending.
func (t *tagger) tag(ctx context.Context, header string, body func() ([]byte, error)) mirror.Outcome {
	pending := mirror.Outcome{Status: campaign.StatusPending}
	placement := edge.ParsePlacement(header)
	if placement.Status != campaign.StatusPending {
		if placement.Status == campaign.StatusRetry {
			t.log.WarnContext(ctx, "identity did not say that the login counted", slog.String("status", header))
		}
		return mirror.Outcome{Status: placement.Status}
	}
	if t.teller == nil {
		return pending
	}
	claims, err := t.claims(body)
	if err != nil {
		t.log.WarnContext(ctx, "login response holds no token to look up", slog.Any("err", err))
		return pending
	}
	return t.teller.Tell(ctx, claims.Subject, placement.Place)
}

var errBody = errors.New("body is not an object with a token")

// claims are those of the token in the body. The errors hold nothing of it.
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
