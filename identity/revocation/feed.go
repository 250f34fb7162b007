package revocation

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/token"
)

// FeedConfig configures a Feed. Redis is required.
type FeedConfig struct {
	Redis redis.UniversalClient
	Log   *slog.Logger     // nil: slog.Default()
	Now   func() time.Time // nil: time.Now
}

// Feed knows what is revoked, and hears of every revocation within a second
// while Redis answers. While it does not, the Feed goes on with what it knows:
// it never forgets what can still matter. It is safe for concurrent use.
type Feed struct {
	cfg    FeedConfig
	stream stream
	known  *set
	loads  atomic.Uint64 // counts readings of the stream from its start
	// loading is set before loads counts, and until that reading is done.
	loading atomic.Bool
	ready   atomic.Bool
	down    atomic.Int64 // Unix milliseconds since when Redis does not answer; 0: it does
}

const (
	feedBlock = 500 * time.Millisecond // the longest one read waits
	feedCheck = 250 * time.Millisecond // between looks at the state while entries pour in
	feedRetry = 100 * time.Millisecond // between attempts while Redis is down
	feedPrune = time.Minute
)

// NewFeed returns a Feed; it knows nothing until Run has read for the first time.
func NewFeed(cfg FeedConfig) *Feed {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Feed{cfg: cfg, stream: stream{cfg.Redis}, known: newSet()}
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

// Stats is what a Feed tells of itself.
type Stats struct {
	Ready       bool
	DownSince   time.Time // since when Redis does not answer; zero: it does
	Tokens      int       // revoked token ids in memory
	Generations int       // users with a raised generation in memory
}

// Stats returns the present state.
func (f *Feed) Stats() Stats {
	s := Stats{Ready: f.Ready()}
	if ms := f.down.Load(); ms != 0 {
		s.DownSince = time.UnixMilli(ms).UTC()
	}
	s.Tokens, s.Generations = f.known.size()
	return s
}

// Run follows the revocations until ctx ends, and returns nil then. Redis being
// down is waited out.
func (f *Feed) Run(ctx context.Context) error {
	t := &tail{feed: f}
	for ctx.Err() == nil {
		err := t.step(ctx)
		if ctx.Err() != nil {
			break
		}
		f.report(ctx, err)
		if err != nil {
			pause(ctx, feedRetry)
		}
	}
	return nil
}

// report says once when Redis is lost, and once when it is back.
func (f *Feed) report(ctx context.Context, err error) {
	since := f.down.Load()
	switch {
	case err != nil && since == 0:
		f.down.Store(f.cfg.Now().UnixMilli())
		f.cfg.Log.WarnContext(ctx, "revocations are not followed: the last known ones hold", "err", err, "ready", f.Ready())
	case err == nil && since != 0:
		f.down.Store(0)
		f.cfg.Log.InfoContext(ctx, "revocations are followed again", "down_since", time.UnixMilli(since).UTC())
	}
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
	feed    *Feed
	follows state  // of the stream that was read from its start
	begun   bool   // follows is set
	cursor  string // the last entry that was read
	idle    bool   // the last read found nothing
	checked time.Time
	pruned  time.Time
	latest  time.Time // the latest the clock has shown
}

func (t *tail) step(ctx context.Context) error {
	f, now := t.feed, t.feed.cfg.Now()
	t.watch(ctx, now.Round(0)) // the wall clock, by which tokens expire
	if now.Sub(t.pruned) >= feedPrune {
		f.known.prune(now)
		t.pruned = now
	}
	if !t.begun || t.idle || now.Sub(t.checked) >= feedCheck || f.down.Load() != 0 {
		if err := t.check(ctx); err != nil {
			return err
		}
		t.checked = now
	}
	entries, err := f.stream.next(ctx, t.cursor, feedBlock)
	if err != nil {
		return err
	}
	t.learn(ctx, entries)
	t.idle = len(entries) == 0
	return nil
}

// watch has the stream read from its start when the clock was set back: what
// was forgotten as over may matter again. Less than margin does no harm.
func (t *tail) watch(ctx context.Context, wall time.Time) {
	if back := t.latest.Sub(wall); back > margin {
		t.feed.cfg.Log.WarnContext(ctx, "the clock was set back: revocations are read anew", "by", back)
		t.begun, t.latest = false, wall
	}
	if wall.After(t.latest) {
		t.latest = wall
	}
}

// check reads the stream from its start when it is not the one that was
// followed: filled anew, on another server, or no longer whole.
func (t *tail) check(ctx context.Context) error {
	before, err := t.feed.stream.state(ctx)
	if err != nil || (t.begun && before == t.follows) {
		return err
	}
	if err := t.load(ctx); err != nil {
		return err
	}
	after, err := t.feed.stream.state(ctx)
	if err != nil {
		return err
	}
	// Another state means that it was emptied or filled meanwhile: then what
	// was read may be a part, and the next step reads it again.
	t.follows, t.begun = after, after == before
	if t.begun && after.whole {
		t.feed.ready.Store(true)
	}
	return nil
}

func (t *tail) load(ctx context.Context) error {
	t.begun, t.cursor = false, "0-0"
	t.feed.loading.Store(true)
	t.feed.loads.Add(1)
	for {
		entries, err := t.feed.stream.page(ctx, t.cursor)
		if err != nil {
			return err
		}
		t.learn(ctx, entries)
		if len(entries) < streamPage {
			t.feed.loading.Store(false)
			return nil
		}
	}
}

func (t *tail) learn(ctx context.Context, entries []redis.XMessage) {
	f := t.feed
	now := f.cfg.Now()
	for _, m := range entries {
		t.cursor = m.ID
		r, err := parse(m)
		if err != nil {
			f.cfg.Log.ErrorContext(ctx, "revocation cannot be read and is skipped", "err", err)
			continue
		}
		if r.Until.After(now) {
			f.known.add(r, f.loads.Load())
		}
	}
}
