package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func TestProblemOf(t *testing.T) {
	refused := func(field string) error { return &account.InvalidError{Field: field, Reason: "must be good"} }
	cases := map[string]struct {
		err    error
		status int
		kind   string
		header string // a header it must have, with its value
		fields string
	}{
		"invalid":           {refused("username"), 422, typeInvalid, "", "username"},
		"both invalid":      {errors.Join(refused("username"), refused("password")), 422, typeInvalid, "", "username password"},
		"taken":             {account.ErrUsernameTaken, 409, typeTaken, "", ""},
		"wrong credentials": {account.ErrBadCredentials, 401, typeCredentials, `WWW-Authenticate: Bearer realm="earlybird"`, ""},
		"not found":         {account.ErrNotFound, 404, "about:blank", "", ""},
		"no grant":          {&campaign.NoGrantError{Standing: "full"}, 404, typeNoGrant, "", ""},
		"too many attempts": {&limit.LimitedError{Limit: limit.ByAccount, RetryAfter: 4100 * time.Millisecond}, 429, typeLimited, "Retry-After: 5", ""},
		"busy":              {&password.BusyError{RetryAfter: 4100 * time.Millisecond}, 503, typeBusy, "Retry-After: 5", ""},
		"outage":            {unavailable.New("redis", "x", errors.New("down")), 503, typeUnavailable, "Retry-After: 2", ""},
		"pending":           {&revocation.PendingError{Err: unavailable.New("redis", "x", errors.New("down"))}, 503, typePending, "Retry-After: 2", ""},
		"not ready":         {token.ErrNotReady, 503, typeUnavailable, "Retry-After: 2", ""},
		"revoked":           {token.ErrRevoked, 401, typeUnauthorized, invalidToken(token.ErrRevoked), ""},
		"no keys":           {token.ErrNoKeys, 503, typeUnavailable, "Retry-After: 2", ""},
		"client gone":       {context.Canceled, 503, typeUnavailable, "Retry-After: 2", ""},
		"too late":          {context.DeadlineExceeded, 503, typeUnavailable, "Retry-After: 2", ""},
		"no token":          {token.ErrNoToken, 401, typeUnauthorized, `WWW-Authenticate: Bearer realm="earlybird"`, ""},
		"malformed token":   {token.ErrMalformed, 401, typeUnauthorized, invalidToken(token.ErrMalformed), ""},
		"algorithm":         {token.ErrAlgorithm, 401, typeUnauthorized, invalidToken(token.ErrAlgorithm), ""},
		"type":              {token.ErrType, 401, typeUnauthorized, invalidToken(token.ErrType), ""},
		"signature":         {token.ErrSignature, 401, typeUnauthorized, invalidToken(token.ErrSignature), ""},
		"unknown key":       {token.ErrUnknownKey, 401, typeUnauthorized, invalidToken(token.ErrUnknownKey), ""},
		"issuer":            {token.ErrIssuer, 401, typeUnauthorized, invalidToken(token.ErrIssuer), ""},
		"audience":          {token.ErrAudience, 401, typeUnauthorized, invalidToken(token.ErrAudience), ""},
		"expired":           {token.ErrExpired, 401, typeUnauthorized, invalidToken(token.ErrExpired), ""},
		"not yet valid":     {token.ErrNotYetValid, 401, typeUnauthorized, invalidToken(token.ErrNotYetValid), ""},
		"a problem":         {problem(http.StatusTeapot, "x"), 418, "about:blank", "", ""},
		"no campaign":       {campaign.ErrNoCampaign, 500, "about:blank", "", ""},
		"unknown":           {errors.New("SECRET"), 500, "about:blank", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, err := range []error{c.err, fmt.Errorf("SECRET: %w", c.err)} {
				p := problemOf(err)
				if p.Status != c.status || p.Type != c.kind {
					t.Errorf("%v: %d %s, want %d %s", err, p.Status, p.Type, c.status, c.kind)
				}
				if name, value, ok := strings.Cut(c.header, ": "); ok && p.header.Get(name) != value {
					t.Errorf("%v: %s = %q, want %q", err, name, p.header.Get(name), value)
				}
				var named []string
				for _, f := range p.Errors {
					named = append(named, f.Field)
				}
				if strings.Join(named, " ") != c.fields {
					t.Errorf("%v: names %v, want %s", err, named, c.fields)
				}
				if strings.Contains(p.Detail+p.Title, "SECRET") {
					t.Errorf("%v: tells %q", err, p.Detail)
				}
			}
		})
	}
}

func invalidToken(err error) string {
	return fmt.Sprintf(`WWW-Authenticate: Bearer realm="earlybird", error="invalid_token", error_description="The %s"`, err)
}

// TestEveryStandingHasItsDetail: a standing that the domain can have says
// something.
func TestEveryStandingHasItsDetail(t *testing.T) {
	seen := map[string]bool{}
	for _, standing := range []string{
		string(campaign.StatusNone), string(campaign.StatusFull), string(campaign.StatusPaused), string(campaign.StatusEnded),
		campaign.StandingOpen, campaign.StandingDisqualified,
	} {
		detail := problemOf(&campaign.NoGrantError{Standing: standing}).Detail
		if detail == "" || seen[detail] {
			t.Errorf("%s: detail %q is empty, or another's", standing, detail)
		}
		seen[detail] = true
	}
	if len(noGrantDetails) != len(seen) {
		t.Errorf("%d details for %d standings", len(noGrantDetails), len(seen))
	}
}

func TestClientOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	cases := map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"direct":                  {"203.0.113.7:4711", nil, "203.0.113.7"},
		"direct, claims another":  {"203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		"through one hop":         {"10.0.0.1:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"through two":             {"10.0.0.1:4711", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"claims before the hop":   {"10.0.0.1:4711", []string{"127.0.0.1, 203.0.113.7"}, "203.0.113.7"},
		"in two lines":            {"10.0.0.1:4711", []string{"198.51.100.1", "203.0.113.7,10.0.0.2"}, "203.0.113.7"},
		"all trusted":             {"10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"junk":                    {"10.0.0.1:4711", []string{"junk"}, "10.0.0.1"},
		"junk further out":        {"10.0.0.1:4711", []string{"junk, 10.0.0.2"}, "10.0.0.2"},
		"empty":                   {"10.0.0.1:4711", []string{""}, "10.0.0.1"},
		"with a port":             {"10.0.0.1:4711", []string{"203.0.113.7:99"}, "203.0.113.7"},
		"IPv6":                    {"[fd00::1]:4711", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 with port and zone": {"[fd00::1]:4711", []string{"[fe80::1%eth0]:80"}, "fe80::1"},
		"mapped IPv4":             {"[::ffff:10.0.0.1]:4711", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"no address":              {"@", []string{"203.0.113.7"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
			if got := clientOf(r, trusted); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestBodiesAreAsDescribed: the members of a body are those of its schema, and
// no length refuses what the account package would allow.
func TestBodiesAreAsDescribed(t *testing.T) {
	type property struct {
		MinLength, MaxLength int
		Description          string
	}
	var described struct {
		Components struct {
			Schemas map[string]struct {
				Required   []string
				Properties map[string]property
			}
		}
	}
	if err := json.Unmarshal(description, &described); err != nil {
		t.Fatal(err)
	}
	least := map[string]int{"username": account.MaxUsername, "password": account.MaxPassword, "current": account.MaxPassword, "new": account.MaxPassword, "code": 17}
	for name, b := range map[string]body{"Registration": enrolment, "Credentials": credentials, "PasswordChange": passwordChange} {
		schema := described.Components.Schemas[name]
		if strings.Join(schema.Required, " and ") != b.names() || len(schema.Properties) != len(b) {
			t.Errorf("%s has %v, the body %s", name, schema.Required, b.names())
		}
		for _, m := range b {
			if got, want := schema.Properties[m.name], (property{1, m.longest, m.allowed}); got != want {
				t.Errorf("%s: %s is described as %+v, want %+v", name, m.name, got, want)
			}
			if m.longest != 4*least[m.name] {
				t.Errorf("%s: %s up to %d, want 4 * %d", name, m.name, m.longest, least[m.name])
			}
		}
	}
}
