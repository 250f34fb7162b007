package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/limit"
)

// from posts a body as Kong would send it on for a client at this address. An
// answer with 429 must be a problem that says when to come back.
func (i *instance) from(t *testing.T, address, path, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", address)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusTooManyRequests {
		var said struct{ Type string }
		err := json.NewDecoder(res.Body).Decode(&said)
		after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || !strings.HasSuffix(said.Type, ":too-many-attempts") || after < 1 || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("429 with %v %+v, %v", res.Header, said, err)
		}
	}
	return res.StatusCode
}

// TestLimits goes by the settings and by what a client is answered; the rules
// are tested in package limit. Checked by a service without its limiter, by one
// limit set for another, and by a trusted hop that is not.
func TestLimits(t *testing.T) {
	const (
		home, attacker, other = "192.0.2.1", "203.0.113.1", "203.0.113.2"
		wrong                 = `{"username":"alice","password":"wrong"}`
	)
	type step struct {
		from, path, body string
		want             int
	}
	for name, c := range map[string]struct {
		setting, value string
		steps          []step
	}{
		"account and address": {"account-address-limit", "2,1/h", []step{
			{attacker, "/login", wrong, 401},
			{attacker, "/login", wrong, 401},
			{attacker, "/login", wrong, 429},
			{attacker, "/login", alice, 429},
			{attacker, "/login", newcomer("bob"), 401},
			{other, "/login", wrong, 401},
		}},
		"account": {"account-limit", "2,1/h", []step{
			{attacker, "/login", wrong, 401},
			{other, "/login", wrong, 401},
			{"203.0.113.3", "/login", alice, 429},
			{home, "/login", alice, 200}, // where the account was created: the owner is not locked out
		}},
		"address": {"address-limit", "2,1/h", []step{
			{attacker, "/users", newcomer("bob"), 201},
			{attacker, "/login", alice, 200},
			{attacker, "/login", alice, 429},
			{attacker, "/users", newcomer("carol"), 429},
			{other, "/login", alice, 200},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]string{
				"mongo-url": testserver.Mongo(t), "redis-url": testserver.Redis(t).URL(),
				"address-limit": "off", "account-limit": "off", "account-address-limit": "off",
			}
			settings[c.setting] = c.value
			i := begin(t, settings)
			i.until(t, "/readyz", 200)
			if got := i.from(t, home, "/users", alice); got != 201 {
				t.Fatalf("POST /users: %d", got)
			}
			for n, s := range c.steps {
				if got := i.from(t, s.from, s.path, s.body); got != s.want {
					t.Errorf("step %d, POST %s from %s: %d, want %d", n+1, s.path, s.from, got, s.want)
				}
			}
		})
	}
}

// By default all unknown addresses together have at most 100 guesses at an account
// in three days, and the owner gets in from a known address all the while. Checked
// with 31,1/h, and by not remembering the owner's address.
func TestDefaultLimitOfAnAccount(t *testing.T) {
	var c config
	for _, s := range settingsTable {
		if strings.HasSuffix(s.name, "-limit") {
			if err := s.set(&c, s.value); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	now := start
	l := limit.New(limit.Config{
		Address: c.AddressLimit, Account: c.AccountLimit, Both: c.AccountAddressLimit, Now: func() time.Time { return now },
	})
	l.Remember(t.Context(), "alice", "192.0.2.1")
	guesses := 0
	for n := 0; now.Before(start.Add(3 * 24 * time.Hour)); n++ {
		if _, err := l.Take(t.Context(), "alice", fmt.Sprintf("203.0.%d.%d", n/200%200, n%200)); err == nil {
			guesses++
		}
		if n > 200 { // all of those at once
			now = now.Add(10 * time.Minute)
		}
		if n%10 == 0 {
			pass, err := l.Take(t.Context(), "alice", "192.0.2.1")
			if err != nil {
				t.Fatalf("the owner after %s: %v", now.Sub(start), err)
			}
			pass.Undecided(t.Context())
		}
	}
	if guesses > 100 || guesses < 90 {
		t.Errorf("%d guesses in three days, want at most 100", guesses)
	}
}
