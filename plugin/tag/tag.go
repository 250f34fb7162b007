// Package tag decides what a successful login is told of the promotion. It
// knows nothing of Kong.
package tag

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
	Verify(raw string) (token.Claims, error)
}

// Claimer makes a login count; *campaign.Claimer is one. It bounds its own time
// and answers with campaign.StatePending for what cannot be told.
type Claimer interface {
	Claim(ctx context.Context, user string) campaign.Outcome
}

// Config is what a Tagger is made of; every field is required.
type Config struct {
	Verifier Verifier // also takes tokens with OneTime for their audience
	OneTime  string   // the audience of what a one-time password buys, which is no login yet
	Claimer  Claimer
	Log      *slog.Logger
}

// Tagger tags logins. It is safe for concurrent use.
type Tagger struct{ cfg Config }

// New returns a Tagger.
func New(cfg Config) *Tagger { return &Tagger{cfg: cfg} }

// Tag claims for the user whose token is in the body of a successful login's
// response, and returns the value of edge.Header for the client. Whatever goes
// wrong, the login has succeeded: the value is then edge.Pending.
func (t *Tagger) Tag(ctx context.Context, body []byte) string {
	claims, err := t.claims(body)
	if err != nil {
		t.cfg.Log.WarnContext(ctx, "login response holds no token to claim for", slog.Any("err", err))
		return edge.Pending
	}
	if claims.Audience == t.cfg.OneTime {
		return edge.Downstream(campaign.Outcome{State: campaign.StateNone})
	}
	return edge.Downstream(t.cfg.Claimer.Claim(ctx, claims.Subject))
}

var errBody = errors.New("body is not an object with a token")

// claims are those of the token in the body. The errors hold nothing of it.
func (t *Tagger) claims(body []byte) (token.Claims, error) {
	var login struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(body, &login) != nil || login.Token == "" {
		return token.Claims{}, errBody
	}
	return t.cfg.Verifier.Verify(login.Token)
}
