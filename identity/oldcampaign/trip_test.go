package campaign_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// traffic stands between a claimer and Redis: it notes how many claims go
// together, and holds them until the test closes begin.
type traffic struct {
	begin chan struct{}

	mu    sync.Mutex
	trips []int
}

func (tr *traffic) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (tr *traffic) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (tr *traffic) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "evalsha" { // setting up a connection, or the script by its text
			return next(ctx, cmds)
		}
		tr.mu.Lock()
		tr.trips = append(tr.trips, len(cmds))
		tr.mu.Unlock()
		begin := tr.begin
		if slices.Contains(cmds[0].Args(), any(userWhoPanics)) {
			panic("a fault of the client library")
		}
		if slices.Contains(cmds[0].Args(), any(userWithoutAnswer)) {
			begin = nil
		}
		select {
		case <-begin:
			return next(ctx, cmds)
		case <-ctx.Done():
			for _, cmd := range cmds {
				cmd.SetErr(ctx.Err())
			}
			return ctx.Err()
		}
	}
}

func (tr *traffic) seen() []int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.trips)
}

// userWithoutAnswer claims on a trip that never gets one.
const userWithoutAnswer = "nobody answers"

// userWhoPanics claims on a trip that ends in a panic.
const userWhoPanics = "panics"

// throughTraffic returns a claimer whose trips begin when the test says so.
func (b *bench) throughTraffic(t *testing.T, timeout time.Duration) (*campaign.Claimer, *traffic) {
	t.Helper()
	tr := &traffic{begin: make(chan struct{})}
	client := connect(t, b.url)
	client.AddHook(tr)
	return campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: timeout, Log: slog.New(slog.DiscardHandler)}), tr
}

// claimInOrder makes claims one after the other, none of which is answered yet.
func claimInOrder(t *testing.T, c *campaign.Claimer, tr *traffic, users ...string) map[string]chan campaign.Outcome {
	t.Helper()
	answers := map[string]chan campaign.Outcome{}
	for _, user := range users {
		before, answer := len(tr.seen())+c.Waiting(), make(chan campaign.Outcome, 1)
		answers[user] = answer
		go func() { answer <- c.Claim(context.WithoutCancel(t.Context()), user) }()
		eventually(t, user+" claims", func() bool { return len(tr.seen())+c.Waiting() == before+1 })
	}
	return answers
}

// Claims that find others on their way go together after them, in their order;
// who has left meanwhile does not go. Checked by taking those who wait in the
// opposite order, and by taking those who have left, too.
func TestClaimsShareTrips(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, 10, 0)
	claimer, tr := b.throughTraffic(t, time.Minute)
	answers := claimInOrder(t, claimer, tr, "a", "b", "c", "d", "e", "f")

	ctx, leave := context.WithCancel(t.Context())
	left := make(chan campaign.Outcome)
	go func() { left <- claimer.Claim(ctx, "left") }()
	eventually(t, "who will leave waits", func() bool { return claimer.Waiting() == 3 })
	leave()
	if got := <-left; got != state(campaign.StatePending) {
		t.Errorf("claim of a canceled request: %+v, want pending", got)
	}
	more := claimInOrder(t, claimer, tr, "g")

	close(tr.begin)
	for _, alone := range []string{"a", "b", "c", "d"} {
		<-answers[alone]
	}
	first := (<-answers["e"]).Rank // 5, or less when a trip is back before others have arrived
	for i, answer := range []chan campaign.Outcome{answers["f"], more["g"]} {
		if got, want := <-answer, granted("1", first+int64(i)+1); first < 2 || got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if got := fmt.Sprint(tr.seen()); got != "[1 1 1 1 3]" {
		t.Errorf("claims went together as %s, want [1 1 1 1 3]", got)
	}
	b.expect(t, "next", granted("1", 8))
}

// Rule 5: a trip that gets no answer holds up those on it and nobody else.
// Checked with one trip at a time: the others then wait for it.
func TestTripWithoutAnswerHoldsUpNobodyElse(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, 100, 0)
	claimer, tr := b.throughTraffic(t, time.Minute)
	close(tr.begin)
	ctx, giveUp := context.WithCancel(t.Context())
	stuck := make(chan campaign.Outcome)
	go func() { stuck <- claimer.Claim(ctx, userWithoutAnswer) }()
	eventually(t, "one is on the way", func() bool { return len(tr.seen()) == 1 })
	var others sync.WaitGroup
	for i := range 20 {
		others.Go(func() {
			if got := claimer.Claim(t.Context(), fmt.Sprint("user", i)); got.State != campaign.StateGranted {
				t.Errorf("claim beside it: %+v, want granted", got)
			}
		})
	}
	others.Wait()
	giveUp()
	if got := <-stuck; got != state(campaign.StatePending) {
		t.Errorf("claim without an answer: %+v, want pending", got)
	}
}

// A panic costs those on the trip their answer, and nobody else a trip: neither one
// in the goroutine of who claims nor one in another. Checked without a recover.
func TestTripThatPanics(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, 10, 0)
	claimer, tr := b.throughTraffic(t, time.Minute)
	answers := claimInOrder(t, claimer, tr, "a", "b", "c", "d", userWhoPanics)
	close(tr.begin)
	if got := <-answers[userWhoPanics]; got != state(campaign.StatePending) {
		t.Errorf("claim on a trip after another: %+v, want pending", got)
	}
	for range 5 {
		if got := claimer.Claim(t.Context(), userWhoPanics); got != state(campaign.StatePending) {
			t.Errorf("claim on a trip of its own: %+v, want pending", got)
		}
	}
	if got := claimer.Claim(t.Context(), "e"); got.State != campaign.StateGranted {
		t.Errorf("claim after them: %+v, want granted", got)
	}
}

// What goes wrong for one user of a trip is no matter of the others. Checked by
// leaving out the answers of a trip with an error.
func TestOneOfATripFailsAlone(t *testing.T) {
	server := testserver.Redis(t)
	b := newBench(t, server.URL())
	b.start(t, 10, 0)
	b.expect(t, "known", granted("1", 1))
	claimer, tr := b.throughTraffic(t, time.Minute)
	answers := claimInOrder(t, claimer, tr, "v", "w", "x", "y", "new", "known")
	if err := b.redis.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	close(tr.begin)
	if got := <-answers["new"]; got != state(campaign.StatePending) {
		t.Errorf("claim that finds no memory: %+v, want pending", got)
	}
	if got := <-answers["known"]; got != granted("1", 1) {
		t.Errorf("claim beside it: %+v, want rank 1", got)
	}
}

// A server that has forgotten the script is given it again.
func TestTripToAServerWithoutTheScript(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, 10, 0)
	claimer, tr := b.throughTraffic(t, time.Minute)
	answers := claimInOrder(t, claimer, tr, "a", "b", "c", "d", "e", "f")
	if err := b.redis.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	close(tr.begin)
	for user, answer := range answers {
		if got := <-answer; got.State != campaign.StateGranted {
			t.Errorf("claim of %s: %+v, want granted", user, got)
		}
	}
}
