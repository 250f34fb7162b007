package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/token"
)

// verifier takes "good-<user>" for a token.
type verifier struct{}

func (verifier) Verify(raw string, d token.Demand) (token.Claims, error) {
	user, ok := strings.CutPrefix(raw, "good-")
	if !ok {
		return token.Claims{}, token.ErrSignature
	}
	if user == "once" {
		return token.Claims{Subject: user, Audience: d.AlsoAudience}, nil
	}
	return token.Claims{Subject: user, Audience: d.Audience}, nil
}

// claimer notes who claims.
type claimer struct {
	outcome campaign.Outcome
	users   []string
}

func (c *claimer) Claim(_ context.Context, user string) campaign.Outcome {
	c.users = append(c.users, user)
	return c.outcome
}

func TestTag(t *testing.T) {
	granted := campaign.Outcome{State: campaign.StateGranted, CampaignID: "1", Rank: 7, Discount: 30}
	tests := []struct {
		name, body string
		outcome    campaign.Outcome
		want       string
		claims     string // for whom
	}{
		{"granted", `{"token":"good-u"}`, granted, `status=granted, campaign="1", rank=7, discount=30`, "u"},
		{"full", `{"token":"good-u"}`, campaign.Outcome{State: campaign.StateFull}, "status=full", "u"},
		{"cannot be told", `{"token":"good-u"}`, campaign.Outcome{State: campaign.StatePending}, "status=pending", "u"},
		{"no outcome at all", `{"token":"good-u"}`, campaign.Outcome{}, "status=pending", "u"},
		{"white space and more members", " {\"a\":[1], \"token\" : \"good-u\"}\n", granted, `status=granted, campaign="1", rank=7, discount=30`, "u"},
		{"a one-time password's token", `{"token":"good-once"}`, granted, "status=none", ""},
		{"a token that is refused", `{"token":"bad-secret"}`, granted, "status=pending", ""},
		{"an empty token", `{"token":""}`, granted, "status=pending", ""},
		{"no token", `{}`, granted, "status=pending", ""},
		{"a token of another type", `{"token":["good-u"]}`, granted, "status=pending", ""},
		{"not JSON", `good-secret`, granted, "status=pending", ""},
		{"cut off", `{"token":"good-secret"`, granted, "status=pending", ""},
		{"two values", `{"token":"good-u"}{"token":"good-v"}`, granted, "status=pending", ""},
		{"nothing", ``, granted, "status=pending", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			c := &claimer{outcome: tt.outcome}
			tagger := &tagger{verifier: verifier{}, audience: "a", claimer: c, log: slog.New(slog.NewTextHandler(&log, nil))}
			if got := tagger.tag(t.Context(), []byte(tt.body)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := strings.Join(c.users, ","); got != tt.claims {
				t.Errorf("claimed for %q, want %q", got, tt.claims)
			}
			if (log.Len() > 0) != (tt.want == "status=pending" && tt.claims == "") || strings.Contains(log.String(), "secret") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}
