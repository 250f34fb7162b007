package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
)

// verifier takes "good-<user>" for a token for audience a, but "good-once".
type verifier struct{}

func (verifier) Verify(raw string, d token.Demand) (token.Claims, error) {
	user, ok := strings.CutPrefix(raw, "good-")
	if !ok {
		return token.Claims{}, token.ErrSignature
	}
	if d != (token.Demand{Audience: "a"}) || user == "once" {
		return token.Claims{}, token.ErrAudience
	}
	return token.Claims{Subject: user, Audience: d.Audience}, nil
}

// resolver notes for whom it is asked, and of which place on.
type resolver struct {
	outcome mirror.Outcome
	asked   []string
}

func (l *resolver) Resolve(_ context.Context, user string, at campaign.Place) mirror.Outcome {
	l.asked = append(l.asked, user+" "+at.String())
	return l.outcome
}

const (
	placed  = `status=pending, place="1048576:7"`
	granted = `status=granted, campaign="1", rank=7, discount=30`
)

func TestTag(t *testing.T) {
	won := mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1, Rank: 7, Discount: 30}
	tests := []struct {
		name, header, body string
		outcome            mirror.Outcome
		want               string
		asks, warns        bool
	}{
		{name: "granted", header: placed, body: `{"token":"good-u"}`, outcome: won, want: granted, asks: true},
		{name: "full", header: placed, body: `{"token":"good-u"}`, outcome: mirror.Outcome{Status: campaign.StatusFull}, want: "status=full", asks: true},
		{name: "cannot be told", header: placed, body: `{"token":"good-u"}`, outcome: mirror.Outcome{Status: campaign.StatusPending}, want: "status=pending", asks: true},
		{name: "no outcome at all", header: placed, body: `{"token":"good-u"}`, want: "status=pending", asks: true},
		{name: "white space and more members", header: placed, body: " {\"a\":[1], \"token\" : \"good-u\"}\n", outcome: won, want: granted, asks: true},

		{name: "no campaign", header: "status=none", body: `{"token":"good-u"}`, outcome: won, want: "status=none"},
		{name: "paused, and a body that is not asked for", header: "status=paused", want: "status=paused"},
		{name: "identity says retry", header: "status=retry", body: `{"token":"good-u"}`, outcome: won, want: "status=retry", warns: true},
		{name: "no header", body: `{"token":"good-u"}`, outcome: won, want: "status=retry", warns: true},
		{name: "garbage for a header", header: "%", body: `{"token":"good-u"}`, outcome: won, want: "status=retry", warns: true},
		{name: "a grant that identity tells", header: granted, body: `{"token":"good-u"}`, outcome: won, want: "status=retry", warns: true},

		{name: "a token for another audience", header: placed, body: `{"token":"good-once"}`, outcome: won, want: "status=pending", warns: true},
		{name: "a token that is refused", header: placed, body: `{"token":"bad-secret"}`, outcome: won, want: "status=pending", warns: true},
		{name: "an empty token", header: placed, body: `{"token":""}`, outcome: won, want: "status=pending", warns: true},
		{name: "no token", header: placed, body: `{}`, outcome: won, want: "status=pending", warns: true},
		{name: "a token of another type", header: placed, body: `{"token":["good-u"]}`, outcome: won, want: "status=pending", warns: true},
		{name: "not JSON", header: placed, body: `good-secret`, outcome: won, want: "status=pending", warns: true},
		{name: "cut off", header: placed, body: `{"token":"good-secret"`, outcome: won, want: "status=pending", warns: true},
		{name: "two values", header: placed, body: `{"token":"good-u"}{"token":"good-v"}`, outcome: won, want: "status=pending", warns: true},
		{name: "nothing", header: placed, outcome: won, want: "status=pending", warns: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			l := &resolver{outcome: tt.outcome}
			tagger := &tagger{verifier: verifier{}, audience: "a", resolver: l, log: slog.New(slog.NewTextHandler(&log, nil))}
			if got := edge.Downstream(tagger.tag(t.Context(), tt.header, func() ([]byte, error) { return []byte(tt.body), nil })); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			want := ""
			if tt.asks {
				want = "u 1048576:7"
			}
			if got := strings.Join(l.asked, ","); got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
			if (log.Len() > 0) != tt.warns || strings.Contains(log.String(), "secret") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

func TestTagOfABodyThatCannotBeRead(t *testing.T) {
	l := &resolver{outcome: mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1, Rank: 1}}
	tagger := &tagger{verifier: verifier{}, audience: "a", resolver: l, log: slog.New(slog.DiscardHandler)}
	got := edge.Downstream(tagger.tag(t.Context(), placed, func() ([]byte, error) { return []byte(`{"token":"good-u"}`), errors.New("over the limit") }))
	if got != "status=pending" || l.asked != nil {
		t.Errorf("got %q, asked for %q", got, l.asked)
	}
}

// Without a configuration that works, what identity says passes.
func TestTagWithNothingToTellBy(t *testing.T) {
	tagger := &tagger{log: slog.New(slog.DiscardHandler)}
	for header, want := range map[string]string{placed: "status=pending", "status=none": "status=none", "": "status=retry"} {
		if got := edge.Downstream(tagger.tag(t.Context(), header, nil)); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}
