package main

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

// status is how a request with this token is answered; 0: it passes.
func (b *bench) status(t testing.TB, raw string) int {
	t.Helper()
	_, result := b.ask(t, "Bearer "+raw)
	if result.Exit == nil {
		return 0
	}
	return int(result.Exit.Status)
}

func (b *bench) dead(t testing.TB, raw string) func() bool {
	return func() bool { return b.status(t, raw) == 401 }
}

func TestRevokedWithinASecond(t *testing.T) {
	b := newBench(t)
	one, claims := b.identity.Token(t, "u")
	two, _ := b.identity.Token(t, "u")
	other, _ := b.identity.Token(t, "other")
	for _, raw := range []string{one, two, other} {
		b.header(t, raw)
	}
	b.revoked.Logout(t, claims.ID)
	remembered := testserver.Eventually(t, "a token that is remembered dies", b.dead(t, one))
	_, result := b.ask(t, "Bearer "+one)
	if challenge := result.Exit.Header["WWW-Authenticate"]; len(challenge) != 1 || !strings.Contains(challenge[0], `error_description="The token was revoked"`) {
		t.Errorf("challenge %q", challenge)
	}
	b.header(t, two)

	next := b.revoked.Raise(t, "u", 0)
	every := testserver.Eventually(t, "every token of the user dies", b.dead(t, two))
	b.header(t, other)
	fresh, _ := b.identity.TokenOf(t, "u", next) // of the same second
	b.header(t, fresh)
	late, _ := b.identity.TokenOf(t, "u", next-1) // never seen before
	if got := b.status(t, late); got != 401 {
		t.Errorf("an earlier token that is new here: %d, want 401", got)
	}
	b.revoked.Raise(t, "u", next)
	again := testserver.Eventually(t, "and every token once more", b.dead(t, fresh))
	plugintest.Promptly(t, remembered, every, again)
}

// A process that starts later knows what was revoked before, and refuses
// everything until it does.
func TestStartsAfterARevocation(t *testing.T) {
	b := newBench(t)
	raw, claims := b.identity.Token(t, "u")
	good, _ := b.identity.Token(t, "u")
	b.revoked.Logout(t, claims.ID)
	late := startAgain(t, b)
	if got := late.status(t, raw); got != 401 {
		t.Errorf("the revoked token: %d, want 401", got)
	}
	late.header(t, good)
}

// startAgain is another process of the plugin at the same Redis.
func startAgain(t *testing.T, b *bench) *bench {
	t.Helper()
	late := *b
	late.kong = plugintest.Serve(t, define(), pluginserver.Process{})
	late.config = late.kong.Configure(t, "b", b.values(), nil)
	return &late
}

func TestRedisThatNobodyHasFilled(t *testing.T) {
	for _, test := range []struct {
		revocation string
		status     int
	}{
		{"required", 503},
		{"optional", 0},
	} {
		t.Run(test.revocation, func(t *testing.T) {
			url := "redis://" + miniredis.RunT(t).Addr()
			b := &bench{identity: plugintest.NewIdentity(t), redisURL: url, campaign: plugintest.NewCampaign(t, url)}
			b.kong = plugintest.Serve(t, define(), pluginserver.Process{})
			values := b.values()
			values["revocation"] = test.revocation
			b.config = b.kong.Configure(t, "a", values, nil)
			raw, claims := b.identity.Token(t, "u")
			if got := b.status(t, raw); got != test.status {
				t.Fatalf("status %d, want %d", got, test.status)
			}
			_, result := b.ask(t, "Bearer "+raw)
			if test.status == 503 && len(result.Exit.Header["Retry-After"]) != 1 {
				t.Errorf("no Retry-After: %v", result.Exit.Header)
			}
			b.revoked = plugintest.NewRevocations(t, url)
			testserver.Eventually(t, "passes once the revocations are known", func() bool { return b.status(t, raw) == 0 })
			b.revoked.Logout(t, claims.ID)
			testserver.Eventually(t, "revoked", b.dead(t, raw))
		})
	}
}

// Redis down, emptied and back: what was revoked stays so, here and at a
// process that starts then.
func TestRevocationsOutliveRedis(t *testing.T) {
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	raw, claims := b.identity.Token(t, "u")
	good, _ := b.identity.Token(t, "u")
	b.header(t, good)
	b.revoked.Logout(t, claims.ID)
	testserver.Eventually(t, "revoked", b.dead(t, raw))

	server.Kill()
	if !b.dead(t, raw)() {
		t.Error("revived without Redis")
	}
	b.header(t, good)
	testserver.Eventually(t, "the log says so", func() bool { return strings.Contains(b.kong.Log.String(), "revocations are not followed") })

	b.revoked.Stop()
	server.Start()
	if err := b.campaign.Redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	late := startAgain(t, b)
	if got := late.status(t, raw); got != 503 {
		t.Errorf("a new process on an emptied Redis: %d, want 503", got)
	}
	if !b.dead(t, raw)() {
		t.Error("revived by an emptied Redis")
	}
	again := plugintest.NewRevocationsOf(t, server.URL(), b.revoked.Store)
	testserver.Eventually(t, "the new process knows", late.dead(t, raw))
	late.header(t, good)
	again.Raise(t, "u", 0)
	testserver.Eventually(t, "both hear what is new", func() bool { return b.dead(t, good)() && late.dead(t, good)() })
}
