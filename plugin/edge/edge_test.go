package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
)

func TestUpstream(t *testing.T) {
	tests := []struct {
		name, user string
		standing   edge.Standing
		want       string // empty: an error
	}{
		{"no grant", "u", edge.Standing{}, `user="u", token="j"`},
		{"grant", "u", edge.Standing{CampaignID: "1", Rank: 42, Discount: 30}, `user="u", token="j", campaign="1", rank=42, discount=30`},
		{"unknown", "u", edge.Standing{Unknown: true}, `user="u", token="j", grant=unknown`},
		{"quotes", `a", rank=1, x="\`, edge.Standing{}, `user="a\", rank=1, x=\"\\", token="j"`},
		{"line break", "a\r\nX: y", edge.Standing{}, ""},
		{"not ASCII", "ä", edge.Standing{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := edge.Upstream(tt.user, "j", tt.standing)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Fatalf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.want == "" {
				return
			}
			d, err := httpsfv.UnmarshalDictionary([]string{got})
			if err != nil {
				t.Fatal(err)
			}
			if user := member(t, d, "user"); user != tt.user {
				t.Errorf("user reads back as %v", user)
			}
		})
	}
}

func member(t *testing.T, d *httpsfv.Dictionary, name string) any {
	t.Helper()
	m, _ := d.Get(name)
	item, ok := m.(httpsfv.Item)
	if !ok {
		t.Fatalf("no item %s", name)
	}
	return item.Value
}

func TestDownstream(t *testing.T) {
	tests := []struct {
		outcome campaign.Outcome
		want    string
	}{
		{campaign.Outcome{State: campaign.StateGranted, CampaignID: "1", Rank: 42, Discount: 30}, `status=granted, campaign="1", rank=42, discount=30`},
		{campaign.Outcome{State: campaign.StateFull}, "status=full"},
		{campaign.Outcome{State: campaign.StateNone}, "status=none"},
		{campaign.Outcome{State: campaign.StatePaused}, "status=paused"},
		{campaign.Outcome{State: campaign.StateEnded}, "status=ended"},
		{campaign.Outcome{State: campaign.StatePending}, "status=pending"},
		{campaign.Outcome{}, "status=pending"},
		{campaign.Outcome{State: "made up"}, "status=pending"},
		{campaign.Outcome{State: campaign.StateGranted}, "status=pending"},
		{campaign.Outcome{State: campaign.StateGranted, CampaignID: "\n", Rank: 1}, "status=pending"},
	}
	for _, tt := range tests {
		got := edge.Downstream(tt.outcome)
		if got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.outcome, got, tt.want)
		}
		if _, err := httpsfv.UnmarshalDictionary([]string{got}); err != nil {
			t.Errorf("%q is no dictionary: %v", got, err)
		}
	}
}

// Which error is answered how is tested in package token; here, that each is
// written as it stands there.
func TestProblems(t *testing.T) {
	for _, r := range token.Refusals() {
		p := edge.Refusal(fmt.Errorf("wrapped with a secret: %w", r.Err))
		challenge, retry := strings.Join(p.Header["WWW-Authenticate"], "|"), strings.Join(p.Header["Retry-After"], "|")
		if p.Status != r.Status || p.Reason != r.Reason || challenge != r.WWWAuthenticate || (retry == "2") != (r.Status == 503) {
			t.Errorf("%v: %d %q %q", r.Err, p.Status, challenge, retry)
		}
	}
	if p := edge.Refusal(errors.New("secret")); p != edge.Refusal(token.ErrMalformed) {
		t.Errorf("an unknown error is answered with %s", p.Reason)
	}
	for _, p := range edge.Problems() {
		var d map[string]any
		if err := json.Unmarshal(p.Body, &d); err != nil || d["status"] != float64(p.Status) || strings.Contains(string(p.Body), "secret") ||
			p.Header["Content-Type"][0] != "application/problem+json" || d["type"] == "" || d["title"] == "" || d["detail"] == "" {
			t.Errorf("%s: %s %v", p.Reason, p.Body, err)
		}
	}
}

func TestPool(t *testing.T) {
	opened := map[string]int{}
	contexts := map[string]context.Context{}
	p := edge.NewPool(t.Context(), func(ctx context.Context, key string) (string, error) {
		if key == "bad" {
			return "", errors.New("no")
		}
		opened[key]++
		contexts[key] = ctx
		return "value of " + key, nil
	})
	v1, release1, err1 := p.Acquire("a")
	v2, release2, err2 := p.Acquire("a")
	if err1 != nil || err2 != nil || v1 != "value of a" || v2 != v1 || opened["a"] != 1 || len(p.Values()) != 1 {
		t.Fatalf("not shared: %q %q, opened %v", v1, v2, opened)
	}
	release1()
	release1() // once too often
	if contexts["a"].Err() != nil {
		t.Fatal("let go while in use")
	}
	release2()
	if contexts["a"].Err() == nil || len(p.Values()) != 0 {
		t.Fatal("not let go")
	}
	if _, _, err := p.Acquire("bad"); err == nil {
		t.Fatal("want the error")
	}
	if _, release, err := p.Acquire("a"); err != nil || opened["a"] != 2 {
		t.Fatalf("not built anew: %v", err)
	} else {
		release()
	}
}
