package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/earlybird"
	"github.com/earlybird/earlybird/plugin/edge"
)

func TestUpstream(t *testing.T) {
	tests := []struct {
		name, user string
		grant      edge.KnownGrant
		want       string // empty: an error
	}{
		{"no grant", "u", edge.KnownGrant{}, `user="u", token="j"`},
		{"grant", "u", edge.KnownGrant{Grant: mirror.Grant{Campaign: 1, Rank: 42, Discount: 30}}, `user="u", token="j", campaign="1", rank=42, discount=30`},
		{"unknown", "u", edge.KnownGrant{Unknown: true}, `user="u", token="j", grant=unknown`},
		{"unknown, whatever else there is", "u", edge.KnownGrant{Unknown: true, Grant: mirror.Grant{Campaign: 1, Rank: 42}}, `user="u", token="j", grant=unknown`},
		{"quotes", `a", rank=1, x="\`, edge.KnownGrant{}, `user="a\", rank=1, x=\"\\", token="j"`},
		{"line break", "a\r\nX: y", edge.KnownGrant{}, ""},
		{"not ASCII", "ä", edge.KnownGrant{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := edge.Upstream(tt.user, "j", tt.grant)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Fatalf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.want == "" {
				return
			}
			user, err := earlybird.Parse([]string{got}) // as the services behind Kong do
			if err != nil || user.ID != tt.user || user.TokenID != "j" {
				t.Errorf("%q reads back as %+v, %v", got, user, err)
			}
			held, err := user.Grant()
			if isUnknown := errors.Is(err, earlybird.ErrUnknown); isUnknown != tt.grant.Unknown {
				t.Errorf("%q: the grant reads back as unknown: %t", got, isUnknown)
			}
			if g := tt.grant.Grant; err == nil && (held.Rank != g.Rank || held.Discount != g.Discount || (held.Campaign == "1") != (g.Campaign == 1)) {
				t.Errorf("%q: the grant reads back as %+v", got, held)
			}
		})
	}
}

func TestDownstream(t *testing.T) {
	tests := []struct {
		outcome mirror.Outcome
		want    string
	}{
		{mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1, Rank: 42, Discount: 30}, `status=granted, campaign="1", rank=42, discount=30`},
		{mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1, Rank: 1}, `status=granted, campaign="1", rank=1, discount=0`},
		{mirror.Outcome{Status: campaign.StatusFull}, "status=full"},
		{mirror.Outcome{Status: campaign.StatusNone}, "status=none"},
		{mirror.Outcome{Status: campaign.StatusPaused}, "status=paused"},
		{mirror.Outcome{Status: campaign.StatusEnded}, "status=ended"},
		{mirror.Outcome{Status: campaign.StatusRetry}, "status=retry"},
		{mirror.Outcome{Status: campaign.StatusPending}, "status=pending"},
		{mirror.Outcome{}, "status=pending"},
		{mirror.Outcome{Status: "made up"}, "status=pending"},
		{mirror.Outcome{Status: campaign.StatusGranted}, "status=pending"},
		{mirror.Outcome{Status: campaign.StatusGranted, Rank: 1}, "status=pending"},
		{mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1}, "status=pending"},
		{mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1, Rank: 1 << 60}, "status=pending"}, // RFC 9651 has 15 digits
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

// placements are headers of the identity service's response, and what they say.
var placements = []struct {
	name, header string
	want         campaign.Placement
}{
	{"pending", `status=pending, place="1048576:17"`, campaign.Placement{Status: campaign.StatusPending, Place: campaign.Place{Epoch: 1 << 20, Seq: 17}}},
	{"the other way round", ` place="1048576:17" ,	status=pending `, campaign.Placement{Status: campaign.StatusPending, Place: campaign.Place{Epoch: 1 << 20, Seq: 17}}},
	{"more than is known", `status=pending;v=2, place="1:0", more=(1 2)`, campaign.Placement{Status: campaign.StatusPending, Place: campaign.Place{Epoch: 1}}},
	{"none", "status=none", campaign.Placement{Status: campaign.StatusNone}},
	{"full", "status=full", campaign.Placement{Status: campaign.StatusFull}},
	{"paused", "status=paused", campaign.Placement{Status: campaign.StatusPaused}},
	{"ended", "status=ended", campaign.Placement{Status: campaign.StatusEnded}},
	{"the later of two", `status=full, status=pending, place="1:0", place="1:2"`, campaign.Placement{Status: campaign.StatusPending, Place: campaign.Place{Epoch: 1, Seq: 2}}},
	{"retry", "status=retry", retry},
	{"missing", "", retry},
	{"garbage", "\x00%%", retry},
	{"not UTF-8", "status=none\xff", retry},
	{"cut", `status=pending, place="1:`, retry},
	{"no status", `place="1:2"`, retry},
	{"no place", "status=pending", retry},
	{"a status of another type", `status="none"`, retry},
	{"a list of statuses", "status=(none)", retry},
	{"a status that is no value", "status", retry},
	{"a place of another type", "status=pending, place=1.2", retry},
	{"a place that is a token", "status=pending, place=a1", retry},
	{"half a place", `status=pending, place="1"`, retry},
	{"a place before the first", `status=pending, place="1:-1"`, retry},
	{"a place beyond any number", `status=pending, place="1:99999999999999999999"`, retry},
	{"a place in other words", `status=pending, place="+1:01"`, retry},
	{"made up", "status=won", retry},
	{"a grant, which is not for identity to tell", `status=granted, campaign="1", rank=1, discount=30`, retry},
	{"two values in one", "status=none status=full", retry},
	{"capitals", "Status=none", retry},
}

var retry = campaign.Placement{Status: campaign.StatusRetry}

func TestParsePlacement(t *testing.T) {
	for _, tt := range placements {
		t.Run(tt.name, func(t *testing.T) {
			if got := edge.ParsePlacement(tt.header); got != tt.want {
				t.Errorf("%q: %+v, want %+v", tt.header, got, tt.want)
			}
		})
	}
}

// Whatever the header is, what is read says only what is written there, and
// nothing that identity does not say.
func FuzzParsePlacement(f *testing.F) {
	for _, p := range placements {
		f.Add(p.header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		p := edge.ParsePlacement(header)
		switch p.Status {
		case campaign.StatusRetry, campaign.StatusFull, campaign.StatusNone, campaign.StatusPaused, campaign.StatusEnded:
			if p.Place != (campaign.Place{}) {
				t.Errorf("%q: %+v", header, p)
			}
		case campaign.StatusPending:
			if p.Place.Epoch < 0 || p.Place.Seq < 0 || !strings.Contains(header, `"`+p.Place.String()+`"`) {
				t.Errorf("%q: %+v", header, p)
			}
		default:
			t.Errorf("%q: %+v", header, p)
		}
		if p.Status != campaign.StatusRetry && !strings.Contains(header, "status="+string(p.Status)) {
			t.Errorf("%q: %+v", header, p)
		}
	})
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
