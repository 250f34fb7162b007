package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/token"
)

// standings counts the reads of a mirror.
type standings struct {
	mirror.Standings
	reads  atomic.Int64
	during func() // called once, during a read, after the standing has been looked up
}

func (s *standings) Standing(ctx context.Context, user string) (mirror.Standing, error) {
	s.reads.Add(1)
	answer, err := s.Standings.Standing(ctx, user)
	if during := s.during; during != nil {
		s.during = nil
		during()
	}
	return answer, err
}

// revocations knows what it is told.
type revocations struct {
	ready  bool
	tokens map[string]bool
	least  map[string]int64
}

func (r *revocations) Ready() bool { return r.ready }

func (r *revocations) Revoked(jti, sub string, gen int64) bool {
	return r.tokens[jti] || gen < r.least[sub]
}

// checkBench is a checker with a clock, an identity whose tokens it takes, and a
// mirror that it follows.
type checkBench struct {
	*checker
	view        *mirror.View
	mirror      *campaigntest.Mirror
	log         *campaigntest.History
	revocations *revocations
	standings   *standings
	metrics     *metrics
	keys        token.KeySet
	issuer      *token.Issuer
	now         time.Time
	tokens      map[string]string // raw, by user
	demand      demand
}

func (b *checkBench) PublicKey(kid string) (ed25519.PublicKey, error) { return b.keys.PublicKey(kid) }

func newCheckBench(t testing.TB, size int) *checkBench {
	t.Helper()
	public, private, keyErr := ed25519.GenerateKey(nil)
	b := &checkBench{
		now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), tokens: map[string]string{},
		keys:   token.NewKeySet(map[string]ed25519.PublicKey{"1": public}),
		demand: demand{Demand: token.Demand{Audience: "a"}},
	}
	clock := func() time.Time { return b.now }
	b.issuer = token.NewIssuer(token.IssuerConfig{
		Issuer: "i", Audience: "a", ClientID: "c", Now: clock,
		Key: func() (string, ed25519.PrivateKey, error) { return "1", private, nil },
	})
	verifier, verifierErr := token.NewVerifier(token.VerifierConfig{Issuer: "i", Keys: b, Now: clock})
	b.mirror = campaigntest.NewMirror()
	b.standings = &standings{Standings: b.mirror}
	b.revocations = &revocations{ready: true, tokens: map[string]bool{}, least: map[string]int64{}}
	b.view = mirror.NewView(mirror.ViewConfig{Now: clock})
	log := slog.New(slog.DiscardHandler)
	b.metrics = newMetrics(nil)
	var err error
	b.checker, err = newChecker(checkerConfig{
		Verifier: verifier, CacheSize: size, Revocations: b.revocations, Log: log, Metrics: b.metrics,
		Grants: &grants{View: b.view, Standings: b.standings, Log: log, Metrics: b.metrics},
	})
	if err := errors.Join(keyErr, verifierErr, err); err != nil {
		t.Fatal(err)
	}
	b.log = campaigntest.NewHistory("here", 1, 1)
	b.fill(t)
	b.pass(t, time.Second) // the first beat only sets the line
	return b
}

// fill brings the mirror up to the log, with a beat.
func (b *checkBench) fill(t testing.TB) {
	t.Helper()
	from := 0
	if s := b.mirror.Peek(); s.Intact && s.Epoch == b.log.Epoch {
		from = int(s.Seq) + 1
	}
	batch := b.log.Batch(from, len(b.log.Entries))
	batch.Beat = b.now
	if s, err := b.mirror.Apply(t.Context(), batch); err != nil || s.Answer != campaign.AnswerOK {
		t.Fatalf("apply: %+v, %v", s, err)
	}
	b.look(t)
}

// look is what a Tail does four times a second.
func (b *checkBench) look(t testing.TB) {
	t.Helper()
	s, err := b.mirror.Summary(t.Context())
	if err != nil {
		b.view.Lost()
		return
	}
	b.view.Sync(s)
	if at, ok := b.view.At(); ok {
		b.view.Observe(b.mirror.After(at))
	}
}

// pass lets time pass, with beats.
func (b *checkBench) pass(t testing.TB, d time.Duration) {
	t.Helper()
	b.now = b.now.Add(d)
	b.fill(t)
}

func (b *checkBench) arrive(t testing.TB, users ...string) {
	t.Helper()
	b.add(t, campaign.Entry{Kind: campaign.KindArrive, Users: users})
}

func (b *checkBench) add(t testing.TB, e campaign.Entry) {
	t.Helper()
	b.log.Add(e)
	b.fill(t)
}

// raise is an entry after which the slots are as many.
func (b *checkBench) raise(slots int64) campaign.Entry {
	settings := *b.log.Entries[0].Settings
	settings.Slots = slots
	return campaign.Entry{Kind: campaign.KindChange, Limit: slots, Settings: &settings}
}

// next is the log of the campaign after this one.
func (b *checkBench) next(t testing.TB, users ...string) {
	t.Helper()
	b.add(t, campaign.Entry{Kind: campaign.KindEnd, Limit: 1})
	b.log = campaigntest.NewHistory("here", 2, 1)
	b.arrive(t, users...)
}

// bearer is the Authorization header of the user, always with the same token.
func (b *checkBench) bearer(t testing.TB, user string) string {
	t.Helper()
	if _, ok := b.tokens[user]; !ok {
		raw, _, err := b.issuer.Issue(user, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.tokens[user] = raw
	}
	return "Bearer " + b.tokens[user]
}

// suffix is what the header says of the grant of a request that passes.
func (b *checkBench) suffix(t testing.TB, user string) string {
	t.Helper()
	header, problem, err := b.decide(context.Background(), b.bearer(t, user), b.demand)
	if problem != nil || err != nil {
		t.Fatalf("refused: %+v %v", problem, err)
	}
	rest, ok := strings.CutPrefix(header, fmt.Sprintf(`user="%s", token="`, user))
	if !ok {
		t.Fatalf("header %q", header)
	}
	_, rest, _ = strings.Cut(rest, `"`)
	return rest
}

// refused fails the test unless the user's request is answered with a problem.
func (b *checkBench) refused(t testing.TB, what, user string, status int, reason string) {
	t.Helper()
	header, problem, err := b.decide(context.Background(), b.bearer(t, user), b.demand)
	if problem == nil || problem.Status != status || problem.Reason != reason || header != "" || err != nil {
		t.Errorf("%s: got %q %+v %v, want %d %s", what, header, problem, err, status, reason)
	}
}

const (
	granted = `, campaign="1", rank=1, discount=30`
	unknown = `, grant=unknown`
)

func TestStanding(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, b *checkBench)
		want   string
	}{
		{"granted", func(t *testing.T, b *checkBench) { b.arrive(t, "u") }, granted},
		{"granted, and the campaign has ended", func(t *testing.T, b *checkBench) {
			b.arrive(t, "u")
			b.add(t, campaign.Entry{Kind: campaign.KindEnd, Limit: 1})
		}, granted},
		{"waiting", func(t *testing.T, b *checkBench) { b.arrive(t, "v", "u") }, ""},
		{"voided", func(t *testing.T, b *checkBench) {
			b.arrive(t, "u")
			b.add(t, campaign.Entry{Kind: campaign.KindVoid, User: "u", Limit: 2})
		}, ""},
		{"not arrived", func(*testing.T, *checkBench) {}, ""},
		{"of the campaign before", func(t *testing.T, b *checkBench) { b.arrive(t, "u"); b.next(t, "v"); b.pass(t, time.Second) }, ""},

		{"granted, and no beat for 15 s", func(t *testing.T, b *checkBench) {
			b.arrive(t, "u")
			b.now = b.now.Add(15 * time.Second)
			b.look(t)
		}, granted},
		{"not arrived, and no beat for 15 s", func(t *testing.T, b *checkBench) {
			b.now = b.now.Add(15 * time.Second)
			b.look(t)
		}, unknown},
		{"not arrived, and the last beat just within 15 s", func(t *testing.T, b *checkBench) {
			b.now = b.now.Add(15*time.Second - 1)
			b.look(t)
		}, ""},
		{"Redis down", func(t *testing.T, b *checkBench) {
			b.arrive(t, "u")
			b.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("down")})
			b.look(t)
		}, unknown},
		{"emptied", func(t *testing.T, b *checkBench) { b.arrive(t, "u"); b.mirror.Flush(); b.look(t) }, unknown},
		{"a key is gone", func(t *testing.T, b *checkBench) {
			b.arrive(t, "u")
			b.mirror.Lose(campaigntest.PartUser)
			b.look(t)
		}, unknown},
		{"a key is gone, unseen", func(t *testing.T, b *checkBench) { b.arrive(t, "u"); b.mirror.Lose(campaigntest.PartUser) }, unknown},
		{"another database's", func(t *testing.T, b *checkBench) {
			b.arrive(t, "u")
			b.mirror.SwapOrigin("elsewhere")
			b.look(t)
		}, unknown},
		{"another database's, unseen", func(t *testing.T, b *checkBench) { b.arrive(t, "u"); b.mirror.SwapOrigin("elsewhere") }, unknown},
		{"rolled back, unseen", func(t *testing.T, b *checkBench) { b.arrive(t, "u"); b.mirror.Rollback(1) }, unknown},
		{"cannot be read", func(_ *testing.T, b *checkBench) {
			b.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("slow")})
		}, unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newCheckBench(t, 10)
			tt.change(t, b)
			for range 2 {
				if got := b.suffix(t, "u"); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// The first request of a user reads, and nothing after it does.
func TestWhatIsRememberedFollowsEveryChange(t *testing.T) {
	b := newCheckBench(t, 10)
	reads := int64(1)
	is := func(what, want string) {
		t.Helper()
		if got := b.suffix(t, "u"); got != want || b.standings.reads.Load() != reads {
			t.Errorf("%s: got %q after %d reads, want %q after %d", what, got, b.standings.reads.Load(), want, reads)
		}
	}
	const second = `, campaign="1", rank=2, discount=30`
	is("first", "")
	is("remembered", "")
	b.arrive(t, "v", "u")
	is("arrived beyond the slots", "")
	b.add(t, b.raise(2))
	is("more slots", second)
	b.add(t, campaign.Entry{Kind: campaign.KindVoid, User: "u", Limit: 3})
	is("voided", "")
	b.add(t, campaign.Entry{Kind: campaign.KindReinstate, User: "u", Limit: 2})
	is("reinstated", second)
	b.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("down")})
	b.look(t)
	b.now = b.now.Add(time.Minute)
	is("Redis down", second)
	b.mirror.Calm()
	b.pass(t, time.Second)
	b.pass(t, time.Second)
	b.mirror.Flush()
	b.look(t)
	is("emptied", second)
	b.fill(t)
	b.pass(t, time.Second)
	is("filled anew", second)
	b.next(t, "v")
	b.pass(t, time.Second)
	reads++
	is("another campaign", "")
	b.add(t, b.raise(2))
	b.arrive(t, "u")
	is("and arrived there", `, campaign="2", rank=2, discount=30`)
}

func TestFailedReadIsNotRemembered(t *testing.T) {
	b := newCheckBench(t, 10)
	b.arrive(t, "u")
	b.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("slow")})
	if got := b.suffix(t, "u"); got != unknown {
		t.Fatalf("got %q", got)
	}
	b.mirror.Calm()
	if got := b.suffix(t, "u"); got != granted {
		t.Errorf("got %q, want %q", got, granted)
	}
}

// What happens while a standing is being read must not be overwritten by it.
func TestChangeDuringARead(t *testing.T) {
	tests := []struct {
		name string
		then func(b *checkBench)
		want string // of the request after
	}{
		{"arrival", func(b *checkBench) { b.arrive(t, "u") }, granted},
		{"arrival and void", func(b *checkBench) {
			b.arrive(t, "u")
			b.add(t, campaign.Entry{Kind: campaign.KindVoid, User: "u", Limit: 2})
		}, ""},
		{"another campaign", func(b *checkBench) { b.next(t, "u"); b.pass(t, time.Second) }, `, campaign="2", rank=1, discount=30`},
		{"Redis is lost", func(b *checkBench) { b.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("down")}); b.look(t) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newCheckBench(t, 10)
			b.standings.during = func() { tt.then(b) }
			b.suffix(t, "u")
			if got := b.suffix(t, "u"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What Verify refuses, and what it cannot tell yet, is answered as package token
// says.
func TestRefusedToken(t *testing.T) {
	b := newCheckBench(t, 10)
	b.suffix(t, "u")
	b.now = b.now.Add(token.Lifetime)
	b.refused(t, "remembered and expired", "u", 401, "expired")
	keys := b.keys
	b.keys = token.KeySet{}
	b.refused(t, "no keys", "v", 503, "unavailable")
	b.keys = keys
	b.suffix(t, "v")
}

// Routes share what was verified, and each has a demand of its own. Checked by
// leaving the demand out of the cache's lookup.
func TestDemandsOfRoutesThatShareAChecker(t *testing.T) {
	b := newCheckBench(t, 10)
	b.suffix(t, "u")
	b.demand.Audience = "other"
	b.refused(t, "for another audience", "u", 401, "audience")
	b.demand.AlsoAudience = "a"
	b.suffix(t, "u")
	if b.checker.tokens.Len() != 1 {
		t.Errorf("%d tokens are remembered, want 1", b.checker.tokens.Len())
	}
}

// A revocation holds from when it is heard, for a token that is remembered too.
func TestRevoked(t *testing.T) {
	for name, revoke := range map[string]func(b *checkBench){
		"token": func(b *checkBench) {
			claims, err := b.checker.tokens.Verify(b.tokens["u"], b.demand.Demand)
			if err != nil {
				t.Fatal(err)
			}
			b.revocations.tokens[claims.ID] = true
		},
		"generation": func(b *checkBench) { b.revocations.least["u"] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newCheckBench(t, 10)
			b.suffix(t, "u")
			revoke(b)
			b.refused(t, "remembered", "u", 401, "revoked")
			b.suffix(t, "other")
		})
	}
}

// Until it is known what was revoked nothing passes, unless the route fails open.
func TestRevocationsNotKnownYet(t *testing.T) {
	b := newCheckBench(t, 10)
	b.suffix(t, "u")
	b.revocations.ready = false
	b.refused(t, "remembered", "u", 503, "unavailable")
	b.refused(t, "new", "new", 503, "unavailable")
	b.tokens["bad"] = "bad"
	b.refused(t, "a bad token", "bad", 401, "malformed")
	b.demand.failOpen = true
	b.suffix(t, "u")
	b.revocations.least["u"] = 1
	b.refused(t, "what is known holds", "u", 401, "revoked")
}

func TestClaimsThatTheHeaderCannotCarryPassNothing(t *testing.T) {
	b := newCheckBench(t, 10)
	header, problem, err := b.decide(t.Context(), b.bearer(t, "a\r\nX-Admin: 1"), b.demand)
	if err == nil || header != "" || problem != nil {
		t.Errorf("got %q %v %v, want an error alone", header, problem, err)
	}
}

// A user is remembered as long as one of their tokens is.
func TestPeopleAreBoundedByTheTokens(t *testing.T) {
	const size = 20
	b := newCheckBench(t, size)
	for i := range 5 * size {
		b.suffix(t, fmt.Sprint("u", i%(2*size)))
	}
	if n := b.view.Watched(); n != size {
		t.Errorf("%d users for %d tokens", n, size)
	}
	b.checker.tokens.Purge()
	if n := b.view.Watched(); n != 0 {
		t.Errorf("%d users for no tokens", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	b := newCheckBench(t, 50)
	for i := range 80 {
		b.bearer(t, fmt.Sprint("u", i))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				user := fmt.Sprint("u", (i*31+j)%80)
				if _, problem, err := b.decide(t.Context(), "Bearer "+b.tokens[user], b.demand); problem != nil || err != nil {
					t.Errorf("refused: %v %v", problem, err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 80 {
			b.log.Add(campaign.Entry{Kind: campaign.KindArrive, Users: []string{fmt.Sprint("u", i)}})
			b.fill(t)
		}
	})
	wg.Wait()
	if n := b.view.Watched(); n != b.checker.tokens.Len() {
		t.Errorf("%d users for %d tokens", n, b.checker.tokens.Len())
	}
	if got := b.suffix(t, "u0"); got != granted {
		t.Errorf("got %q, want %q", got, granted)
	}
}

func TestWarmCheckAllocatesNothing(t *testing.T) {
	for name, arrived := range map[string]string{"a grant": "u", "none": "v"} {
		t.Run(name, func(t *testing.T) {
			b := newCheckBench(t, 100)
			b.arrive(t, arrived)
			authorization := b.bearer(t, "u")
			ctx := t.Context()
			n := testing.AllocsPerRun(100, func() {
				if _, problem, err := b.decide(ctx, authorization, b.demand); problem != nil || err != nil {
					t.Fatal(problem, err)
				}
			})
			if n != 0 || b.standings.reads.Load() != 1 {
				t.Errorf("%v allocations and %d reads, want none and one", n, b.standings.reads.Load())
			}
		})
	}
}

func BenchmarkCheckWarm(b *testing.B) {
	c := newCheckBench(b, 100)
	c.arrive(b, "u")
	authorization := c.bearer(b, "u")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, problem, err := c.decide(ctx, authorization, c.demand); problem != nil || err != nil {
			b.Fatal(problem, err)
		}
	}
}
