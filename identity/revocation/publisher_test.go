package revocation

import (
	"context"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// asked is a store that notes since when it was asked for revocations.
type asked struct {
	Store
	since []time.Time
	all   []Revocation
}

func (a *asked) Revocations(_ context.Context, since, _ time.Time) iter.Seq2[Revocation, error] {
	a.since = append(a.since, since)
	return func(yield func(Revocation, error) bool) {
		for _, r := range a.all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (*asked) PruneRevocations(context.Context, time.Time) error { return nil }

// A sweep looks at what was decided since the one before. When the clock was
// ahead at that one, what has been decided since seems older than it.
func TestSweepAfterTheClockWasSetBack(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	log, store, now := slog.New(slog.DiscardHandler), &asked{}, noon
	p := NewPublisher(PublisherConfig{
		Store: store, Redis: client, Feed: NewFeed(FeedConfig{Redis: client, Log: log}), Log: log, Now: func() time.Time { return now },
	})
	p.cfg.Feed.pos.load = 1 // it has read the stream
	for _, test := range []struct {
		now, since time.Time
	}{
		{noon, time.Time{}},
		{noon.Add(time.Minute), noon.Add(-sweepOverlap)},
		{noon.Add(2 * time.Hour), noon.Add(time.Minute - sweepOverlap)},
		{noon.Add(3 * time.Minute), time.Time{}},
		{noon.Add(4 * time.Minute), noon.Add(3*time.Minute - sweepOverlap)},
	} {
		now = test.now
		if err := p.sweep(t.Context(), "here"); err != nil {
			t.Fatal(err)
		}
		if got := store.since[len(store.since)-1]; !got.Equal(test.since) {
			t.Errorf("at %s: asked since %s, want %s", test.now, got, test.since)
		}
	}
}

// While the Feed reads the stream anew, what it has not come to seems to be
// missing from it, and is not to be announced a second time.
func TestSweepWaitsForTheFeedToHaveRead(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	feed := NewFeed(FeedConfig{Redis: client, Log: slog.New(slog.DiscardHandler)})
	p := NewPublisher(PublisherConfig{Store: &asked{all: []Revocation{{TokenID: "T", Until: noon}}}, Redis: client, Feed: feed})
	feed.pos.load = 1
	for want, loading := range []bool{true, false} { // as many entries as sweeps that were not in vain
		feed.pos.loading = loading
		p.looked = noon
		if err := p.sweep(t.Context(), "here"); err != nil {
			t.Fatal(err)
		}
		if n := client.XLen(t.Context(), KeyStream).Val(); n != int64(want) || p.looked.IsZero() != loading {
			t.Errorf("loading %t: %d entries, looked %s; want %d", loading, n, p.looked, want)
		}
	}
}
