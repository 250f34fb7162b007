package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/token"
)

// standings is a campaign of which everything can be changed.
type standings struct {
	mu       sync.Mutex
	campaign campaign.Campaign
	known    bool
	live     bool
	places   map[string]int64
	err      error
	reads    int
	during   func() // called during a read, after the place has been looked up
}

func (s *standings) Campaign() (campaign.Campaign, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.campaign, s.known
}

func (s *standings) Live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

func (s *standings) Standing(_ context.Context, user string) (campaign.Standing, error) {
	s.mu.Lock()
	s.reads++
	answer, err, during := campaign.Standing{CampaignID: s.campaign.ID, Position: s.places[user]}, s.err, s.during
	s.during = nil
	s.mu.Unlock()
	if during != nil {
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

// checkBench is a checker with a clock, and an identity whose tokens it takes.
type checkBench struct {
	*checker
	people      *people
	revocations *revocations
	standings   *standings
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
	var issuerErr error
	b.issuer, issuerErr = token.NewIssuer(token.IssuerConfig{
		Issuer: "i", Audience: "a", ClientID: "c", Now: clock,
		Key: func() (string, ed25519.PrivateKey, error) { return "1", private, nil },
	})
	verifier, verifierErr := token.NewVerifier(token.VerifierConfig{Issuer: "i", Keys: b, Now: clock})
	b.standings = &standings{campaign: campaign.Campaign{ID: "1", Slots: 1, Discount: 30}, known: true, live: true, places: map[string]int64{}}
	b.revocations = &revocations{ready: true, tokens: map[string]bool{}, least: map[string]int64{}}
	log := slog.New(slog.DiscardHandler)
	b.people = &people{Standings: b.standings, Log: log, Metrics: newMetrics(nil)}
	var err error
	b.checker, err = newChecker(checkerConfig{
		Verifier: verifier, CacheSize: size, People: b.people, Revocations: b.revocations, Log: log, Metrics: newMetrics(nil),
	})
	if err := errors.Join(keyErr, issuerErr, verifierErr, err); err != nil {
		t.Fatal(err)
	}
	return b
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

func TestStandingOfAPosition(t *testing.T) {
	tests := []struct {
		name   string
		change func(s *standings)
		want   string
	}{
		{"granted", func(s *standings) { s.places["u"] = 1 }, granted},
		{"waiting", func(s *standings) { s.places["u"] = 2 }, ""},
		{"not arrived", func(*standings) {}, ""},
		{"no campaign", func(s *standings) { s.campaign = campaign.Campaign{} }, ""},
		{"not read yet", func(s *standings) { s.known, s.live = false, false }, unknown},
		{"Redis has lost the campaign", func(s *standings) { s.known = false }, unknown},
		{"down, nothing remembered", func(s *standings) { s.live = false }, unknown},
		{"down, no campaign when last seen", func(s *standings) { s.campaign, s.live = campaign.Campaign{}, false }, unknown},
		{"cannot be read", func(s *standings) { s.err = errors.New("slow") }, unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newCheckBench(t, 10)
			tt.change(b.standings)
			for range 2 {
				if got := b.suffix(t, "u"); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestWhatIsRememberedFollowsEveryChange(t *testing.T) {
	b := newCheckBench(t, 10)
	s := b.standings
	is := func(what, want string, reads int) {
		t.Helper()
		if got := b.suffix(t, "u"); got != want || s.reads != reads {
			t.Errorf("%s: got %q after %d reads, want %q after %d", what, got, s.reads, want, reads)
		}
	}
	is("first", "", 1)
	is("remembered", "", 1)
	s.places["u"] = 2
	b.people.arrived("u", 2)
	is("arrived beyond the slots", "", 1)
	s.campaign.Slots = 2
	is("more slots", `, campaign="1", rank=2, discount=30`, 1)
	s.live = false
	is("down", `, campaign="1", rank=2, discount=30`, 1)
	b.people.missedSome()
	is("down and missed", unknown, 1)
	s.live = true
	is("read again", `, campaign="1", rank=2, discount=30`, 2)
	s.campaign.ID, s.places = "2", map[string]int64{}
	is("another campaign", "", 3)
	b.people.arrived("nobody", 1)
	is("somebody else arrived", "", 3)
}

func TestFailedReadIsNotRemembered(t *testing.T) {
	b := newCheckBench(t, 10)
	b.standings.err = errors.New("slow")
	if got := b.suffix(t, "u"); got != unknown {
		t.Fatalf("got %q", got)
	}
	b.standings.err, b.standings.places["u"] = nil, 1
	if got := b.suffix(t, "u"); got != granted {
		t.Errorf("got %q, want %q", got, granted)
	}
}

// What happens while a position is being read must not be overwritten by it.
func TestChangeDuringARead(t *testing.T) {
	tests := []struct {
		name string
		then func(b *checkBench)
		want string // of the request after
	}{
		{"arrival", func(b *checkBench) { b.people.arrived("u", 1) }, granted},
		{"arrival missed", func(b *checkBench) { b.standings.places["u"] = 1; b.people.missedSome() }, granted},
		{"another campaign", func(b *checkBench) {
			b.standings.campaign.ID = "2"
			b.standings.places["u"] = 1
		}, `, campaign="2", rank=1, discount=30`},
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
	if len(b.people.byUser) != size {
		t.Errorf("%d users for %d tokens", len(b.people.byUser), size)
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
				b.people.arrived(user, 1)
				if j%100 == 0 {
					b.people.missedSome()
				}
			}
		})
	}
	wg.Wait()
	if len(b.people.byUser) != b.checker.tokens.Len() {
		t.Errorf("%d users for %d tokens", len(b.people.byUser), b.checker.tokens.Len())
	}
}

func TestWarmCheckAllocatesNothing(t *testing.T) {
	b := newCheckBench(t, 100)
	b.standings.places["u"] = 1
	authorization := b.bearer(t, "u")
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		if _, problem, err := b.decide(ctx, authorization, b.demand); problem != nil || err != nil {
			t.Fatal(problem, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkCheckWarm(b *testing.B) {
	c := newCheckBench(b, 100)
	c.standings.places["u"] = 1
	authorization := c.bearer(b, "u")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, problem, err := c.decide(ctx, authorization, c.demand); problem != nil || err != nil {
			b.Fatal(problem, err)
		}
	}
}
