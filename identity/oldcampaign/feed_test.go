package campaign_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/outage"
)

// watcher remembers what a feed told it.
type watcher struct {
	mu        sync.Mutex
	positions map[string]int64
	gaps      int
}

func (w *watcher) seen() (map[string]int64, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.positions), w.gaps
}

// follow runs a feed until the test ends.
func follow(t *testing.T, url string) (*campaign.Feed, *watcher) {
	t.Helper()
	w := &watcher{positions: map[string]int64{}}
	f := campaign.NewFeed(campaign.FeedConfig{
		Redis: connect(t, url), Log: slog.New(slog.DiscardHandler),
		OnArrival: func(user string, position int64) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.positions[user] = position
		},
		OnGap: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.gaps++
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	eventually(t, "the feed is live", f.Live)
	return f, w
}

// Checked by never reading the settings again after the start, and by not
// calling OnArrival: the test then waits in vain.
func TestFeedFollows(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		f, w := follow(t, b.url)
		if c, known := f.Campaign(); !known || c.ID != "" {
			t.Errorf("campaign %+v, known %t, want that there is none", c, known)
		}
		b.start(t, 1, 10)
		eventually(t, "the campaign is seen", func() bool { c, _ := f.Campaign(); return c.ID == "1" && c.Slots == 1 })
		b.expect(t, "a", granted("1", 1))
		b.expect(t, "b", state(campaign.StateFull))
		eventually(t, "arrivals are seen", func() bool {
			p, _ := w.seen()
			return p["a"] == 1 && p["b"] == 2
		})
		begin := time.Now()
		must(t)(b.admin.Extend(t.Context(), 5))
		eventually(t, "raised slots are seen", func() bool { c, _ := f.Campaign(); return c.Slots == 5 })
		if d := time.Since(begin); d > time.Second {
			t.Errorf("raised slots were seen after %s, want 1 s at most", d)
		}
		for user, want := range map[string]int64{"a": 1, "b": 2, "nobody": 0} {
			s, err := f.Standing(t.Context(), user)
			if err != nil || s != (campaign.Standing{CampaignID: "1", Position: want}) {
				t.Errorf("standing of %s: %+v, %v, want position %d", user, s, err, want)
			}
		}
		if _, gaps := w.seen(); gaps > 0 {
			t.Errorf("%d gaps while nothing was lost", gaps)
		}
	})
}

// Rule 7 at every edge: within a second each sees the slots raised, and has
// heard of who was turned away. Checked by a feed that waits 3 s between two
// reads. That the ledger hears of it is held by TestClaimConcurrently.
func TestRaisedSlotsReachEveryEdge(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, 1, 10)
	const edges = 4
	var feeds [edges]*campaign.Feed
	var watchers [edges]*watcher
	for i := range edges {
		feeds[i], watchers[i] = follow(t, b.url)
	}
	for i, user := range []string{"a", "b", "c", "d"} {
		if out := b.claim(t, user); (out.State == campaign.StateGranted) != (i == 0) {
			t.Fatalf("claim of %s: %+v", user, out)
		}
	}
	begin := time.Now()
	must(t)(b.admin.Extend(t.Context(), 3))
	for i := range edges {
		eventually(t, "the edge sees it", func() bool {
			c, _ := feeds[i].Campaign()
			p, _ := watchers[i].seen()
			return c.Slots == 3 && p["b"] == 2 && p["c"] == 3 && p["d"] == 4
		})
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("the last edge saw it after %s, want 1 s at most", d)
	}
	for user, want := range map[string]campaign.Outcome{"b": granted("1", 2), "c": granted("1", 3), "d": state(campaign.StateFull)} {
		b.expect(t, user, want)
	}
}

func TestFeedAfterRestore(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		f, w := follow(t, b.url)
		b.start(t, 5, 10)
		b.expect(t, "a", granted("1", 1))
		b.drain(t)
		if err := b.redis.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Standing(t.Context(), "a"); !outage.Is(err) {
			t.Errorf("standing in an emptied redis: %v, want an outage", err)
		}
		b.repair(t)
		eventually(t, "a gap is told", func() bool { _, gaps := w.seen(); return gaps > 0 })
		b.expect(t, "b", granted("1", 2))
		eventually(t, "arrivals are seen again", func() bool { p, _ := w.seen(); return p["b"] == 2 })
	})
}

func TestFeedHealsWithinASecond(t *testing.T) {
	server := testserver.Redis(t)
	b := newBench(t, server.URL())
	b.start(t, 5, 10)
	f, w := follow(t, b.url)
	server.Kill()
	eventually(t, "the feed notices", func() bool { return !f.Live() })
	if _, err := f.Standing(t.Context(), "a"); !outage.Is(err) {
		t.Errorf("standing while redis is down: %v, want an outage", err)
	}
	if c, known := f.Campaign(); !known || c.ID != "1" {
		t.Errorf("campaign while redis is down: %+v, %t, want the last known", c, known)
	}
	server.Start()
	begin := time.Now()
	eventually(t, "the feed heals", f.Live)
	if d := time.Since(begin); d > 1500*time.Millisecond {
		t.Errorf("the feed healed after %s", d)
	}
	b.repair(t)
	b.expect(t, "a", granted("1", 1))
	eventually(t, "arrivals are seen again", func() bool { p, _ := w.seen(); return p["a"] == 1 })
}

// shaky is a Redis that fails as it is told.
type shaky struct{ state atomic.Int32 }

const (
	works = iota
	fails
	failsOneScript // and works then
)

func (s *shaky) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *shaky) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if s.state.Load() == fails || cmd.Name() == "evalsha" && s.state.CompareAndSwap(failsOneScript, works) {
			return errors.New("switched off by the test")
		}
		return next(ctx, cmd)
	}
}

func (s *shaky) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A reader that was blind for longer than the outbox is sure to reach back has
// missed arrivals, also when it takes two attempts to begin anew. Checked by
// forgetting the cursor when the first fails.
func TestFeedThatWasBlindTellsOfTheGap(t *testing.T) {
	var hook shaky
	var asleep atomic.Int64 // nanoseconds
	client := connect(t, "redis://"+miniredis.RunT(t).Addr())
	client.AddHook(&hook)
	gaps := make(chan struct{}, 10)
	f := campaign.NewFeed(campaign.FeedConfig{
		Redis: client, Log: slog.New(slog.DiscardHandler), OnGap: func() { gaps <- struct{}{} },
		Now: func() time.Time { return time.Now().Add(time.Duration(asleep.Load())) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Run(ctx) })
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	eventually(t, "the feed is live", f.Live)
	hook.state.Store(fails)
	eventually(t, "the feed notices", func() bool { return !f.Live() })
	asleep.Store(int64(time.Minute))
	hook.state.Store(failsOneScript)
	eventually(t, "a gap is told", func() bool { return len(gaps) > 0 })
}
