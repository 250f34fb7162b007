package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
)

// Verifier checks a token; *token.Verifier is one.
type Verifier interface {
	Verify(raw string, d token.Demand) (token.Claims, error)
}

// Claimer makes a login count; *campaign.Claimer is one. It bounds its own time
// and answers with campaign.StatePending for what cannot be told.
type Claimer interface {
	Claim(ctx context.Context, user string) campaign.Outcome
}

// tagger decides what the response to a successful login says of the promotion.
// It knows nothing of Kong. It is safe for concurrent use.
type tagger struct {
	verifier Verifier
	audience string // of access tokens
	claimer  Claimer
	log      *slog.Logger
}

// tag claims for the user whose token is in the body of a successful login's
// response, and returns the value of edge.Header for the client. Whatever goes
// wrong, the login has succeeded: the value is then edge.Pending.
func (t *tagger) tag(ctx context.Context, body []byte) string {
	claims, err := t.claims(body)
	if err != nil {
		t.log.WarnContext(ctx, "login response holds no token to claim for", slog.Any("err", err))
		return edge.Pending
	}
	if claims.Audience != t.audience { // bought by a one-time password: no login yet
		return edge.Downstream(campaign.Outcome{State: campaign.StateNone})
	}
	return edge.Downstream(t.claimer.Claim(ctx, claims.Subject))
}

var errBody = errors.New("body is not an object with a token")

// claims are those of the token in the body. The errors hold nothing of it.
func (t *tagger) claims(body []byte) (token.Claims, error) {
	var login struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(body, &login) != nil || login.Token == "" {
		return token.Claims{}, errBody
	}
	return t.verifier.Verify(login.Token, token.Demand{
		Audience: t.audience, AlsoAudience: token.PasswordAudience(t.audience),
	})
}
