// Package keeper keeps Redis and the ledger of campaigns together: it stores
// what Redis decided (drain), makes good the logins whose claim was lost
// (sweep), and rebuilds Redis from the ledger when Redis has lost something
// (restore). The identity service runs it; any number of replicas may.
package keeper

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// Config configures a Keeper. Times that are zero get their defaults.
type Config struct {
	Ledger campaign.Ledger
	Redis  redis.UniversalClient
	// Claimer makes good the claims that were lost; it has the edge's
	// durability and time limit.
	Claimer *campaign.Claimer
	Log     *slog.Logger // nil: slog.Default()
	Now     func() time.Time

	// SweepAfter is the age at which an expected login is claimed here. 10 s.
	SweepAfter time.Duration
	// Interval is the pause between looks at what may need repair. 1 s.
	Interval time.Duration
	// TakeOver is how long an entry may lie with a replica that does not
	// confirm it before another takes it over. 15 s.
	TakeOver time.Duration
	// Forget is how long a replica that holds no entry may be silent before it
	// is taken for ended; one that is not is known again when it asks. 10 min.
	Forget time.Duration
	// Keep is how long the outbox keeps what is stored, for the edges. 60 s.
	Keep time.Duration
	// Patience is how long another restorer is left alone. 10 s.
	Patience time.Duration
}

// Keeper runs drain, sweep and restore.
type Keeper struct {
	cfg      Config
	board    *campaign.Board
	consumer string
	stored   highWater
}

// New returns a Keeper.
func New(cfg Config) *Keeper {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, d := range []struct {
		of  *time.Duration
		def time.Duration
	}{
		{&cfg.SweepAfter, 10 * time.Second},
		{&cfg.Interval, time.Second},
		{&cfg.TakeOver, 15 * time.Second},
		{&cfg.Forget, 10 * time.Minute},
		{&cfg.Keep, 60 * time.Second},
		{&cfg.Patience, 10 * time.Second},
	} {
		if *d.of <= 0 {
			*d.of = d.def
		}
	}
	return &Keeper{cfg: cfg, board: campaign.NewBoard(cfg.Redis), consumer: rand.Text()}
}

// Run keeps Redis and the ledger together until ctx ends, and returns nil
// then. What is down is waited out.
func (k *Keeper) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.every(ctx, "repair", k.cfg.Interval, k.Repair) })
	g.Go(func() error { return k.every(ctx, "sweep", k.cfg.Interval, k.Sweep) })
	g.Go(func() error { return k.every(ctx, "tidy", k.cfg.TakeOver, k.tidy) })
	// A drain that finds nothing waits in Redis, so it needs no pause.
	g.Go(func() error { return k.every(ctx, "drain", 0, k.Drain) })
	return g.Wait()
}

// retryPause is between attempts of a duty that failed.
const retryPause = 500 * time.Millisecond

// every repeats a duty until ctx ends. A failure is logged when it begins and
// when it is over.
func (k *Keeper) every(ctx context.Context, duty string, interval time.Duration, do func(context.Context) error) error {
	failing := false
	for ctx.Err() == nil {
		err := do(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && !failing {
			k.cfg.Log.ErrorContext(ctx, "campaign duty fails and is tried again", "duty", duty, "err", err)
		} else if err == nil && failing {
			k.cfg.Log.InfoContext(ctx, "campaign duty works again", "duty", duty)
		}
		failing = err != nil
		wait := interval
		if failing {
			wait = max(wait, retryPause)
		}
		sleep(ctx, wait)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
