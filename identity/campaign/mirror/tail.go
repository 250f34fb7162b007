package mirror

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/outage"
)

// Follow returns the entries that follow a place in the mirror's stream, at most
// a page of them. It waits for the first one for as long as wait says and then
// returns none. It returns an *outage.Error when Redis does not answer.
func (m *Mirror) Follow(ctx context.Context, at campaign.Place, wait time.Duration) ([]Logged, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+m.timeout)
	defer cancel()
	streams, err := m.redis.XRead(ctx, &redis.XReadArgs{
		Streams: []string{KeyLog, streamID(at)}, Count: streamPage, Block: wait,
	}).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, outage.New("redis", "follow the mirror's log", err)
	}
	entries := make([]Logged, 0, len(streams[0].Messages))
	for _, message := range streams[0].Messages {
		at, e, err := parseMessage(message)
		if err != nil {
			return nil, err
		}
		entries = append(entries, Logged{Place: at, Entry: e})
	}
	return entries, nil
}

// Source is what a Tail follows; *Mirror is one.
type Source interface {
	Summary(ctx context.Context) (Summary, error)
	Follow(ctx context.Context, at campaign.Place, wait time.Duration) ([]Logged, error)
}

const (
	// tailLook is how often a Tail looks at the mirror's summary.
	tailLook = 250 * time.Millisecond
	// tailRetry is the first pause after an error, doubled with each up to
	// tailLongest.
	tailRetry   = 100 * time.Millisecond
	tailLongest = time.Second
)

// TailConfig configures a Tail. Source and View are required.
type TailConfig struct {
	Source Source
	View   *View
	Log    *slog.Logger // nil: slog.Default()
}

// Tail follows the mirror into a View. It only reads.
type Tail struct {
	cfg     TailConfig
	failing bool
	foreign bool
}

// NewTail returns a Tail.
func NewTail(cfg TailConfig) *Tail {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Tail{cfg: cfg}
}

// Run follows the mirror until ctx ends, and returns nil then. What fails is
// tried again.
func (t *Tail) Run(ctx context.Context) error {
	var looked time.Time
	retry := tailRetry
	for ctx.Err() == nil {
		var err error
		if time.Since(looked) >= tailLook {
			looked = time.Now()
			err = t.look(ctx)
		}
		more := false
		if err == nil {
			more, err = t.follow(ctx, tailLook-time.Since(looked))
		}
		if ctx.Err() != nil {
			return nil
		}
		t.report(ctx, err)
		if err == nil {
			retry = tailRetry
			if !more {
				looked = time.Time{}
			}
			continue
		}
		t.cfg.View.Lost()
		looked = time.Time{}
		timer := time.NewTimer(retry)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		retry = min(2*retry, tailLongest)
	}
	return nil
}

// look has the View take in the summary.
func (t *Tail) look(ctx context.Context) error {
	s, err := t.cfg.Source.Summary(ctx)
	if err != nil {
		return err
	}
	t.cfg.View.Sync(s)
	followed := t.cfg.View.Origin()
	foreign := followed != "" && s.Origin != "" && s.Origin != followed
	if foreign && !t.foreign {
		t.cfg.Log.ErrorContext(ctx, "redis belongs to another database than before: grants that are not known are not told; restart this process when that is on purpose",
			"origin", s.Origin, "followed", followed)
	}
	t.foreign = foreign
	return nil
}

// follow waits for entries and has the View observe them. It reports whether the
// next entries can be waited for at once: none were missing.
func (t *Tail) follow(ctx context.Context, wait time.Duration) (bool, error) {
	wait = max(wait, time.Millisecond) // Redis takes 0 for no limit
	at, ok := t.cfg.View.At()
	if !ok || t.foreign {
		timer := time.NewTimer(wait) // for a replica to fill the mirror
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		return true, nil
	}
	entries, err := t.cfg.Source.Follow(ctx, at, wait)
	if err != nil {
		return false, err
	}
	return t.cfg.View.Observe(entries), nil
}

// report says once when the mirror cannot be followed, and once when it can be
// again.
func (t *Tail) report(ctx context.Context, err error) {
	switch {
	case err != nil && !t.failing:
		t.cfg.Log.WarnContext(ctx, "the campaign's log is not followed: grants that are known hold", "err", err)
	case err == nil && t.failing:
		t.cfg.Log.InfoContext(ctx, "the campaign's log is followed again")
	}
	t.failing = err != nil
}
