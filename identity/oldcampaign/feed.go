package campaign

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// FeedConfig configures a Feed. The callbacks are called one at a time, from
// the goroutine of Run; each may be nil.
type FeedConfig struct {
	Redis redis.UniversalClient
	// OnArrival: this user has this position in the current campaign.
	OnArrival func(userID string, position int64)
	// OnGap: arrivals may have been missed; drop every position remembered.
	OnGap func()
	Log   *slog.Logger     // nil: slog.Default()
	Now   func() time.Time // nil: time.Now
}

// Feed follows the campaign from the edge: it knows the current settings and
// hears of every arrival within a second, so that a position once read can be
// remembered.
//
// Who remembers positions must be ready for OnArrival before asking for a
// Standing: an arrival between the answer and its storing would be missed.
type Feed struct {
	cfg     FeedConfig
	board   *Board
	current atomic.Pointer[Snapshot]
	live    atomic.Bool
}

const (
	feedBlock = 500 * time.Millisecond // the longest one read of the outbox waits
	feedRetry = 200 * time.Millisecond // between attempts while Redis is down
	feedBatch = 1000
	// connectTimeout bounds a command of the feed; a blocking read may take feedBlock longer.
	connectTimeout = 2 * time.Second
	feedRefresh    = time.Second // the settings are read again at least this often
	// feedBlind is how long a reader may have been unable to read before it
	// distrusts what it remembers: half of what the outbox keeps at least.
	feedBlind = 30 * time.Second
)

// NewFeed returns a Feed; it knows nothing until Run has read for the first time.
func NewFeed(cfg FeedConfig) *Feed {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Feed{cfg: cfg, board: NewBoard(cfg.Redis)}
}

// Campaign returns the settings as last read, the zero Campaign when there is
// none, and whether they are known. They stay known while Redis is down.
func (f *Feed) Campaign() (Campaign, bool) {
	s := f.current.Load()
	if s == nil || !s.Exists {
		return Campaign{}, false
	}
	return s.Campaign, true
}

// Live reports whether the last read of Redis succeeded.
func (f *Feed) Live() bool { return f.live.Load() }

// Standing reads where a user stands. It is an *outage.Error when that cannot
// be told within DefaultClaimTimeout.
func (f *Feed) Standing(ctx context.Context, userID string) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultClaimTimeout)
	defer cancel()
	return f.board.Standing(ctx, userID)
}

// Run follows the campaign until ctx ends, and returns nil then. Redis being
// down is waited out.
func (f *Feed) Run(ctx context.Context) error {
	t := &tail{feed: f, readAt: f.cfg.Now()}
	for ctx.Err() == nil {
		err := t.step(ctx)
		if ctx.Err() != nil {
			break
		}
		if was := f.live.Swap(err == nil); err != nil {
			if was {
				f.cfg.Log.WarnContext(ctx, "campaign feed lost redis", "err", err)
			}
			pause(ctx, feedRetry)
		} else if !was {
			f.cfg.Log.InfoContext(ctx, "campaign feed reads redis")
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tail is the state of one Run.
type tail struct {
	feed      *Feed
	cursor    string    // the last entry that was read; empty: start at the end
	readAt    time.Time // when Redis last answered
	refreshed time.Time // when the settings were last read
}

func (t *tail) step(ctx context.Context) error {
	now := t.feed.cfg.Now()
	if t.cursor == "" || now.Sub(t.readAt) > feedBlind {
		return t.start(ctx) // the feed is live from here on, not only when a read has waited for news
	}
	entries, err := t.read(ctx)
	if err != nil {
		return err
	}
	stale := false
	for _, e := range entries {
		stale = t.handle(e) || stale
		t.cursor = e.ID
	}
	if stale || len(entries) == 0 || t.feed.cfg.Now().Sub(t.refreshed) > feedRefresh {
		if err := t.refresh(ctx); err != nil {
			return err
		}
	}
	t.readAt = t.feed.cfg.Now()
	return nil
}

// start forgets everything and begins at the end of the outbox: first the
// cursor, then the settings, so that no change falls between the two.
func (t *tail) start(ctx context.Context) error {
	last, err := t.end(ctx)
	if err != nil {
		return err
	}
	before := t.cursor
	t.cursor = last
	if err := t.refresh(ctx); err != nil {
		t.cursor = before // the next attempt still has to tell of the gap
		return err
	}
	t.readAt = t.feed.cfg.Now()
	if before != "" {
		t.gap()
	}
	return nil
}

func (t *tail) end(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	last, err := t.feed.cfg.Redis.XRevRangeN(ctx, KeyOutbox, "+", "-", 1).Result()
	if err != nil {
		return "", err
	}
	if len(last) == 0 {
		return "0-0", nil
	}
	return last[0].ID, nil
}

func (t *tail) read(ctx context.Context) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, feedBlock+connectTimeout)
	defer cancel()
	streams, err := t.feed.cfg.Redis.XRead(ctx, &redis.XReadArgs{
		Streams: []string{KeyOutbox, t.cursor}, Count: feedBatch, Block: feedBlock,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// handle tells the subscriber of one entry, and whether the settings must be
// read again.
func (t *tail) handle(e redis.XMessage) bool {
	switch e.Values["type"] {
	case EntryCampaign:
		return true
	case EntryRestored:
		t.gap()
		return true
	case EntryArrival:
		t.arrival(e, "position")
	case EntryGrant:
		t.arrival(e, "rank")
	}
	return false
}

func (t *tail) arrival(e redis.XMessage, field string) {
	user, _ := e.Values["user"].(string)
	text, _ := e.Values[field].(string)
	position, err := strconv.ParseInt(text, 10, 64)
	current := t.feed.current.Load()
	if err != nil || user == "" || current == nil || e.Values["campaign"] != current.Campaign.ID {
		return
	}
	if t.feed.cfg.OnArrival != nil {
		t.feed.cfg.OnArrival(user, position)
	}
}

func (t *tail) gap() {
	if t.feed.cfg.OnGap != nil {
		t.feed.cfg.OnGap()
	}
}

// refresh reads the settings. A server other than before, or an outbox that
// ends before the cursor, means that Redis was restarted or emptied.
func (t *tail) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	next, err := t.feed.board.Snapshot(ctx)
	if err != nil {
		return err
	}
	end, err := t.end(ctx)
	if err != nil {
		return err
	}
	old := t.feed.current.Swap(&next)
	t.refreshed = t.feed.cfg.Now()
	if Older(end, t.cursor) {
		t.cursor = end
		t.gap()
	} else if old != nil && old.RunID != next.RunID {
		t.gap()
	}
	return nil
}
