package revocation

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/token"
)

// FeedConfig configures a Feed. Redis is required.
type FeedConfig struct {
	Redis redis.UniversalClient
	Log   *slog.Logger     // nil: slog.Default()
	Now   func() time.Time // nil: time.Now
}

// Feed knows what is revoked. While Redis answers, it learns of every revocation
// within a second. While Redis does not, or no identity service confirms that the
// stream is complete, the Feed goes on with what it knows: it never forgets what
// can still matter. It is safe for concurrent use.
type Feed struct {
	cfg     FeedConfig
	known   *set
	ready   atomic.Bool
	foreign atomic.Bool  // Redis holds another database's revocations, says the Publisher
	down    atomic.Int64 // Unix milliseconds since when Redis does not answer; 0: it does

	mu        sync.Mutex
	pos       position
	lossy     string    // the epoch in which entries were found to be missing
	confirmed time.Time // when the last new beat was seen, or Run began

	clock  sync.Mutex
	latest time.Time // the latest that the clock has shown
	pruned time.Time
	again  atomic.Bool // the stream is to be read from its start
}

// position is how far a Feed has read.
type position struct {
	load    uint64 // counts readings of the stream from its start; 0: none yet
	loading bool   // the reading has not come to the end yet
	epoch   string // of the stream when the reading began
	at      string // the last entry that was read
}

func (f *Feed) position() position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pos
}

const (
	feedEager = 50 * time.Millisecond // the longest a read waits until the Feed is ready
	feedPrune = time.Minute
	// feedStale is how long a Feed waits for a beat before it warns: longer than
	// MongoDB takes to elect a primary.
	feedStale = 15 * time.Second
)

// NewFeed returns a Feed; it knows nothing until Run has read for the first time.
func NewFeed(cfg FeedConfig) *Feed {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Feed{cfg: cfg, known: newSet()}
}

// Ready reports whether everything revoked before the Feed began is known. Once
// true it stays so. Until then no token may be accepted: any may be revoked.
func (f *Feed) Ready() bool { return f.ready.Load() }

// Revoked reports whether a token with this jti, sub and gen was ended. It asks
// memory alone.
func (f *Feed) Revoked(jti, sub string, gen int64) bool { return f.known.revoked(jti, sub, gen) }

// Check returns nil for a token that was not ended, token.ErrRevoked for one
// that was, and token.ErrNotReady while that is not known.
func (f *Feed) Check(c token.Claims) error {
	switch {
	case !f.Ready():
		return token.ErrNotReady
	case f.Revoked(c.ID, c.Subject, c.Generation):
		return token.ErrRevoked
	default:
		return nil
	}
}

// Generation returns the smallest generation of the user's tokens that is not
// dead, as far as it was raised in the last half hour; else 0.
func (f *Feed) Generation(userID string) int64 { return f.known.generation(userID) }

// Stats describes a Feed, for metrics.
type Stats struct {
	Ready       bool
	Foreign     bool      // in an identity service: Redis holds another database's revocations, and is left as it is
	DownSince   time.Time // since when Redis does not answer; zero: it does
	Confirmed   time.Time // when an identity service was last seen to confirm the stream, or Run began; zero: not running
	Tokens      int       // revoked token ids in memory
	Generations int       // users with a raised generation in memory
}

// Stats returns the present state.
func (f *Feed) Stats() Stats {
	s := Stats{Ready: f.Ready(), Foreign: f.foreign.Load()}
	if ms := f.down.Load(); ms != 0 {
		s.DownSince = time.UnixMilli(ms).UTC()
	}
	f.mu.Lock()
	s.Confirmed = f.confirmed
	f.mu.Unlock()
	s.Tokens, s.Generations = f.known.size()
	return s
}

// Run follows the revocations until ctx ends, and returns nil then. Redis being
// down is waited out.
func (f *Feed) Run(ctx context.Context) error {
	f.confirm(f.cfg.Now())
	follower := redisdb.Follower{
		Redis: f.cfg.Redis, Stream: KeyStream, Reader: &tail{feed: f},
		Block: func() time.Duration {
			if f.Ready() {
				return time.Hour
			}
			return feedEager
		},
		Lost: func(ctx context.Context, err error) {
			f.down.Store(f.cfg.Now().UnixMilli())
			f.cfg.Log.WarnContext(ctx, "revocations are not followed: the last known ones hold", "err", err, "ready", f.Ready())
		},
		Regained: func(ctx context.Context) {
			since := time.UnixMilli(f.down.Swap(0)).UTC()
			f.cfg.Log.InfoContext(ctx, "revocations are followed again", "down_since", since)
		},
	}
	follower.Run(ctx)
	return nil
}

func (f *Feed) confirm(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed = now
}

// lost reports whether entries of this epoch were found to be missing.
func (f *Feed) lost(epoch string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lossy == epoch
}

// tidy forgets what can no longer matter by the wall clock, by which tokens
// expire. When the clock was set back, what was forgotten as over may matter
// again, and the stream is read from its start. Less than margin does no harm.
func (f *Feed) tidy(ctx context.Context) {
	now := f.cfg.Now().Round(0)
	f.clock.Lock()
	defer f.clock.Unlock()
	if back := f.latest.Sub(now); back > margin {
		f.cfg.Log.WarnContext(ctx, "the clock was set back: revocations are read again", "by", back)
		f.latest, f.pruned = now, now
		f.again.Store(true)
	}
	if now.After(f.latest) {
		f.latest = now
	}
	if now.Sub(f.pruned) >= feedPrune {
		f.known.prune(now)
		f.pruned = now
	}
}

// tail reads the stream for a Feed.
type tail struct {
	feed   *Feed
	answer *redis.Cmd // the state, right after what was read
	pos    position   // what the Feed shows as its own
	first  State      // when the reading from the start began, but for the beat: the latest that was seen
	stale  bool       // it was said that no beat comes
}

// Beside implements redisdb.Reader.
func (t *tail) Beside(ctx context.Context, pipe redis.Pipeliner) {
	t.answer = stateScript.EvalRO(ctx, pipe, keys) // edges need not be allowed to write
}

// Take implements redisdb.Reader. The empty cursor has the stream read from its
// start.
func (t *tail) Take(ctx context.Context, b redisdb.Batch) (cursor string, err error) {
	f := t.feed
	f.tidy(ctx)
	t.warn(ctx)
	st, err := stateOf(t.answer)
	if err != nil {
		return "", fmt.Errorf("state of the revocations: %w", err)
	}
	again := f.again.Swap(false)
	switch {
	case b.Start:
		t.first = st
		t.show(position{load: t.pos.load + 1, loading: true, epoch: st.Epoch})
		return redisdb.StreamStart, nil
	case again:
		return "", nil
	case st.Epoch != t.first.Epoch:
		return "", nil // filled anew, or emptied, or on another server
	case t.broken(b.Entries):
		t.miss(ctx, st)
		return "", nil
	}
	t.learn(ctx, b.Entries)
	if t.pos.loading && !b.More {
		pos := t.pos
		pos.loading = false
		if older(pos.at, t.first.last) { // the last were trimmed
			pos.at = t.first.last
		}
		t.show(pos)
	}
	cursor = cmp.Or(t.pos.at, redisdb.StreamStart)
	if t.pos.loading || !st.Whole {
		return cursor, nil
	}
	if older(st.last, t.pos.at) {
		t.miss(ctx, st)
		return "", nil
	}
	if st.last == t.pos.at && st.Beat.After(t.first.Beat) {
		t.first.Beat = st.Beat
		t.confirmed(ctx)
	}
	return cursor, nil
}

// show makes the position the Feed's.
func (t *tail) show(pos position) {
	t.pos = pos
	t.feed.mu.Lock()
	defer t.feed.mu.Unlock()
	t.feed.pos = pos
}

// broken reports whether these are not the entries that follow the last one
// that was read. What is read from the start may have gaps: entries are trimmed,
// and an epoch begins with what is there.
func (t *tail) broken(entries []redis.XMessage) bool {
	at := t.pos.at
	for _, m := range entries {
		if prev := text(m, "prev"); !t.pos.loading && prev != "" && prev != at {
			return true
		}
		at = m.ID
	}
	return false
}

// miss notes that entries are missing which were there in this epoch: the server
// is another, or came back as it was before.
func (t *tail) miss(ctx context.Context, st State) {
	f := t.feed
	f.cfg.Log.WarnContext(ctx, "the stream of revocations has lost entries: it is read from its start", "epoch", st.Epoch, "read", t.pos.at, "last", st.last)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lossy = st.Epoch
}

func (t *tail) learn(ctx context.Context, entries []redis.XMessage) {
	f := t.feed
	if n := len(entries); n > 0 { // before they are marked as heard: a beat depends on this one
		pos := t.pos
		pos.at = entries[n-1].ID
		t.show(pos)
	}
	now := f.cfg.Now()
	for _, m := range entries {
		if text(m, "epoch") != "" {
			continue // it only wakes readers
		}
		r, err := parse(m)
		if err != nil {
			f.cfg.Log.ErrorContext(ctx, "revocation cannot be read and is skipped", "err", err)
			continue
		}
		if r.Until.After(now) {
			f.known.add(r, t.pos.load, 0)
		}
	}
}

// confirmed: an identity service has just found everything in the stream, and
// the Feed has read all of it.
func (t *tail) confirmed(ctx context.Context) {
	f := t.feed
	f.confirm(f.cfg.Now())
	f.ready.Store(true)
	if t.stale {
		f.cfg.Log.InfoContext(ctx, "revocations are confirmed again")
		t.stale = false
	}
}

// warn says once when no beat comes.
func (t *tail) warn(ctx context.Context) {
	f := t.feed
	f.mu.Lock()
	since := f.confirmed
	f.mu.Unlock()
	if !t.stale && f.cfg.Now().Sub(since) > feedStale {
		f.cfg.Log.WarnContext(ctx, "no identity service confirms that the revocations are complete: the known ones hold", "since", since.UTC(), "ready", f.Ready())
		t.stale = true
	}
}
