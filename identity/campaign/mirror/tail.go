package mirror

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/redisdb"
)

// tailLook is the longest time between two reads of the mirror's summary.
const tailLook = 250 * time.Millisecond

// TailConfig configures a Tail. Redis and View are required.
type TailConfig struct {
	Redis redis.UniversalClient
	View  *View
	Log   *slog.Logger // nil: slog.Default()
}

// Tail follows the mirror into a View. It only reads.
type Tail struct {
	cfg     TailConfig
	summary *redis.Cmd
	foreign bool
}

// NewTail returns a Tail.
func NewTail(cfg TailConfig) *Tail {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Tail{cfg: cfg}
}

// Run follows the mirror until ctx ends, then returns nil. It retries whatever
// fails.
func (t *Tail) Run(ctx context.Context) error {
	follower := redisdb.Follower{
		Redis: t.cfg.Redis, Stream: KeyLog, Reader: tailReader{t}, Page: streamPage,
		Block: func() time.Duration { return tailLook },
		Lost: func(ctx context.Context, err error) {
			t.cfg.View.Lost()
			t.cfg.Log.WarnContext(ctx, "the campaign's log is not followed: known grants are kept", "err", err)
		},
		Regained: func(ctx context.Context) {
			t.cfg.Log.InfoContext(ctx, "the campaign's log is followed again")
		},
	}
	follower.Run(ctx)
	return nil
}

// tailReader makes a Tail a redisdb.Reader.
type tailReader struct{ *Tail }

// Beside implements redisdb.Reader.
func (t tailReader) Beside(ctx context.Context, pipe redis.Pipeliner) {
	t.summary = stateScript.EvalRO(ctx, pipe, keys)
}

// Take implements redisdb.Reader.
func (t tailReader) Take(ctx context.Context, b redisdb.Batch) (cursor string, err error) {
	values, err := t.summary.StringSlice()
	if err != nil {
		return "", err
	}
	s, err := parseSummary(values)
	if err != nil {
		return "", err
	}
	entries := make([]Logged, 0, len(b.Entries))
	for _, message := range b.Entries {
		at, e, err := parseMessage(message)
		if err != nil {
			return "", err
		}
		entries = append(entries, Logged{Place: at, Entry: e})
	}
	t.cfg.View.Take(entries, s)
	followed := t.cfg.View.Origin()
	foreign := followed != "" && s.Origin != "" && s.Origin != followed
	if foreign && !t.foreign {
		t.cfg.Log.ErrorContext(ctx, "redis now belongs to another database: known grants are kept and no new ones are read; if this is intended, restart this process",
			"origin", s.Origin, "followed", followed)
	}
	t.foreign = foreign
	if at, ok := t.cfg.View.At(); ok && !foreign {
		return streamID(at), nil
	}
	return "", nil
}
