package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/auth"
)

// verifier takes "<user>.<id>" for a token of an hour.
type verifier struct {
	verified atomic.Int64
	losses   atomic.Uint64
	during   func() // called by Verify, after it has looked at the keys
	err      error
	began    time.Time
}

func (v *verifier) Verify(raw string) (token.Claims, error) {
	v.verified.Add(1)
	user, id, ok := strings.Cut(raw, ".")
	if v.during != nil {
		v.during()
	}
	if v.err != nil || !ok {
		return token.Claims{}, errors.Join(v.err, token.ErrMalformed)
	}
	return token.Claims{Subject: user, ID: id, Expires: v.began.Add(time.Hour)}, nil
}

func (v *verifier) Losses() uint64 { return v.losses.Load() }

func (v *verifier) GoodUntil(c token.Claims) time.Time { return c.Expires }

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

// bench is a Checker with a clock.
type bench struct {
	*auth.Checker
	revocations *revocations
	verifier    *verifier
	standings   *standings
	now         time.Time
}

func newBench(size int) *bench {
	b := &bench{now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	b.verifier = &verifier{began: b.now}
	b.standings = &standings{campaign: campaign.Campaign{ID: "1", Slots: 1, Discount: 30}, known: true, live: true, places: map[string]int64{}}
	b.revocations = &revocations{ready: true, tokens: map[string]bool{}, least: map[string]int64{}}
	b.Checker = auth.New(auth.Config{
		Verifier: b.verifier, Keys: b.verifier, Standings: b.standings, Revocations: b.revocations, CacheSize: size,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now },
	})
	return b
}

// suffix is what the header says of the grant of a request that passes.
func (b *bench) suffix(t testing.TB, user string) string {
	t.Helper()
	header, problem, err := b.Check(context.Background(), "Bearer "+user+".id")
	if problem != nil || err != nil {
		t.Fatalf("refused: %+v %v", problem, err)
	}
	rest, ok := strings.CutPrefix(header, fmt.Sprintf(`user="%s", token="id"`, user))
	if !ok {
		t.Fatalf("header %q", header)
	}
	return rest
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
			b := newBench(10)
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
	b := newBench(10)
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
	b.Arrived("u", 2)
	is("arrived beyond the slots", "", 1)
	s.campaign.Slots = 2
	is("more slots", `, campaign="1", rank=2, discount=30`, 1)
	s.live = false
	is("down", `, campaign="1", rank=2, discount=30`, 1)
	b.Missed()
	is("down and missed", unknown, 1)
	s.live = true
	is("read again", `, campaign="1", rank=2, discount=30`, 2)
	s.campaign.ID, s.places = "2", map[string]int64{}
	is("another campaign", "", 3)
	b.Arrived("nobody", 1)
	is("somebody else arrived", "", 3)
}

func TestFailedReadIsNotRemembered(t *testing.T) {
	b := newBench(10)
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
		then func(b *bench)
		want string // of the request after
	}{
		{"arrival", func(b *bench) { b.Arrived("u", 1) }, granted},
		{"arrival missed", func(b *bench) { b.standings.places["u"] = 1; b.Missed() }, granted},
		{"another campaign", func(b *bench) {
			b.standings.campaign.ID = "2"
			b.standings.places["u"] = 1
		}, `, campaign="2", rank=1, discount=30`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(10)
			b.standings.during = func() { tt.then(b) }
			b.suffix(t, "u")
			if got := b.suffix(t, "u"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTokensAreRememberedUntilTheyExpire(t *testing.T) {
	b := newBench(10)
	b.suffix(t, "u")
	b.now = b.now.Add(time.Hour - time.Second)
	b.suffix(t, "u")
	if n := b.verifier.verified.Load(); n != 1 {
		t.Errorf("verified %d times, want once", n)
	}
	b.now = b.now.Add(time.Second)
	b.verifier.err = token.ErrExpired
	if _, problem, _ := b.Check(t.Context(), "Bearer u.id"); problem == nil || problem.Reason != "expired" {
		t.Errorf("got %+v, want expired", problem)
	}
}

// A key that leaked is withdrawn: what was forged with it must not live on
// among the tokens verified before.
func TestTokensAreVerifiedAgainWhenAKeyIsGone(t *testing.T) {
	b := newBench(10)
	verified := func(what string, want int64) {
		t.Helper()
		b.suffix(t, "u")
		if n := b.verifier.verified.Load(); n != want {
			t.Errorf("%s: verified %d times, want %d", what, n, want)
		}
	}
	verified("new", 1)
	b.verifier.losses.Add(1)
	verified("a key is gone", 2)
	verified("remembered again", 2)
	b.verifier.losses.Add(1)
	b.verifier.err = token.ErrUnknownKey
	for range 2 {
		if _, problem, _ := b.Check(t.Context(), "Bearer u.id"); problem == nil || problem.Status != 401 {
			t.Errorf("its own key is gone: got %+v, want 401", problem)
		}
	}
	b.verifier.err = nil
	b.verifier.during = func() { b.verifier.losses.Add(1); b.verifier.during = nil }
	verified("a key goes during the check", 5)
	verified("which is not trusted after", 6)
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	b := newBench(10)
	b.verifier.err = token.ErrNoKeys
	if _, problem, _ := b.Check(t.Context(), "Bearer u.id"); problem == nil || problem.Status != 503 {
		t.Fatalf("got %+v, want 503", problem)
	}
	b.verifier.err = nil
	b.suffix(t, "u")
	if b.Remembered() != 1 {
		t.Errorf("%d tokens are remembered, want 1", b.Remembered())
	}
}

// A revocation holds from when it is heard, for a token that is remembered too.
func TestRevoked(t *testing.T) {
	for name, revoke := range map[string]func(r *revocations){
		"token":      func(r *revocations) { r.tokens["id"] = true },
		"generation": func(r *revocations) { r.least["u"] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(10)
			for _, when := range []string{"new", "remembered"} {
				b.suffix(t, "u")
				revoke(b.revocations)
				header, problem, err := b.Check(t.Context(), "Bearer u.id")
				if problem == nil || problem.Status != 401 || problem.Reason != "revoked" || header != "" || err != nil {
					t.Errorf("%s: got %q %+v %v, want 401", when, header, problem, err)
				}
				if challenge := problem.Header["WWW-Authenticate"]; !strings.Contains(challenge[0], `error="invalid_token"`) {
					t.Errorf("%s: challenge %q", when, challenge)
				}
				if _, problem, _ := b.Check(t.Context(), "Bearer other.id2"); problem != nil {
					t.Errorf("%s: somebody else is refused: %s", when, problem.Reason)
				}
				*b.revocations = revocations{ready: true, tokens: map[string]bool{}, least: map[string]int64{}}
			}
		})
	}
}

// Until it is known what was revoked nothing passes, unless it is to.
func TestRevocationsNotKnownYet(t *testing.T) {
	b := newBench(10)
	b.suffix(t, "u")
	b.revocations.ready = false
	for _, user := range []string{"u", "new"} {
		if header, problem, _ := b.Check(t.Context(), "Bearer "+user+".id"); problem == nil || problem.Status != 503 || header != "" {
			t.Errorf("%s: got %q %+v, want 503", user, header, problem)
		}
	}
	b.verifier.err = token.ErrExpired
	if _, problem, _ := b.Check(t.Context(), "Bearer bad.id"); problem == nil || problem.Status != 401 {
		t.Errorf("a bad token: got %+v, want 401", problem)
	}
	b.verifier.err = nil
	b.Checker = auth.New(auth.Config{
		Verifier: b.verifier, Keys: b.verifier, Standings: b.standings, Revocations: b.revocations, Trusting: true, CacheSize: 10,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now },
	})
	b.suffix(t, "u")
	b.revocations.tokens["id"] = true
	if _, problem, _ := b.Check(t.Context(), "Bearer u.id"); problem == nil || problem.Status != 401 {
		t.Errorf("what is known holds: got %+v, want 401", problem)
	}
}

func TestClaimsThatTheHeaderCannotCarryPassNothing(t *testing.T) {
	b := newBench(10)
	b.Checker = auth.New(auth.Config{
		Verifier: odd{b.verifier}, Keys: b.verifier, Standings: b.standings, Revocations: b.revocations, CacheSize: 10, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	header, problem, err := b.Check(t.Context(), "Bearer u.id")
	if err == nil || header != "" || problem != nil {
		t.Errorf("got %q %v %v, want an error alone", header, problem, err)
	}
}

type odd struct{ *verifier }

func (odd) Verify(string) (token.Claims, error) {
	return token.Claims{Subject: "a\r\nX-Admin: 1", ID: "j", Expires: time.Now().Add(time.Hour)}, nil
}

func TestCacheIsBounded(t *testing.T) {
	for _, size := range []int{1, 7, 16, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			b := newBench(size)
			for i := range 20 * size {
				b.suffix(t, fmt.Sprint("u", i))
			}
			if b.Remembered() > size || b.Remembered() < (size+1)/2 {
				t.Errorf("%d tokens are remembered, want up to %d", b.Remembered(), size)
			}
			if b.People() > b.Remembered() {
				t.Errorf("%d persons for %d tokens", b.People(), b.Remembered())
			}
		})
	}
}

// A token in use stays, whatever passes by once.
func TestTokenInUseIsKept(t *testing.T) {
	b := newBench(64)
	b.suffix(t, "regular")
	for i := range 10_000 {
		b.suffix(t, fmt.Sprint("u", i))
		b.suffix(t, "regular")
	}
	if n := b.verifier.verified.Load(); n != 10_001 {
		t.Errorf("verified %d times, want 10001", n)
	}
}

func TestMemoryIsFlat(t *testing.T) {
	b := newBench(1000)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			if _, problem, _ := b.Check(t.Context(), fmt.Sprintf("Bearer u%d.id", i)); problem != nil {
				t.Fatal(problem.Reason)
			}
		}
	}
	fill(0, 5000)
	before := heap()
	fill(5000, 100_000)
	if after := heap(); after > before+before/4+1<<20 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
	runtime.KeepAlive(b)
}

func TestConcurrentUse(t *testing.T) {
	b := newBench(50)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				user := fmt.Sprint("u", (i*31+j)%80)
				if _, problem, err := b.Check(t.Context(), "Bearer "+user+".id"); problem != nil || err != nil {
					t.Errorf("refused: %v %v", problem, err)
				}
				b.Arrived(user, 1)
				if j%100 == 0 {
					b.Missed()
				}
			}
		})
	}
	wg.Wait()
	if b.People() > b.Remembered() {
		t.Errorf("%d persons for %d tokens", b.People(), b.Remembered())
	}
}

func BenchmarkCheckWarm(b *testing.B) {
	c := newBench(100)
	c.standings.places["u"] = 1
	authorization := "Bearer u." + strings.Repeat("a", 400)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, problem, err := c.Check(ctx, authorization); problem != nil || err != nil {
			b.Fatal(problem, err)
		}
	}
}
