package revocation

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/outage"
)

// PublisherConfig configures a Publisher. Store, Redis and Feed are required;
// times that are zero get their defaults.
type PublisherConfig struct {
	Store Store
	Redis redis.UniversalClient
	Feed  *Feed            // of this process; its Run is somebody else's to call
	Log   *slog.Logger     // nil: slog.Default()
	Now   func() time.Time // nil: time.Now

	// Interval is the pause between looks at Redis. 250 ms.
	Interval time.Duration
	// SweepEvery is the time between looks for what a process stored and died
	// before it announced; while Redis is down it is also how other replicas
	// hear of each other, and then a second at most. 5 s.
	SweepEvery time.Duration
}

// Publisher gives Redis the revocations it lacks, and the Feed of its own
// process what the store has, so that the identity service obeys revocations
// with or without Redis. Every replica runs one: what they do twice does no
// harm.
type Publisher struct {
	cfg    PublisherConfig
	stream stream

	lost   bool      // Redis did not answer at the last look
	looked time.Time // when the store was last read
	swept  time.Time // everything decided before was announced; of the wall clock alone, as what is stored
	tidied time.Time
}

const (
	// sweepOverlap is how much of what was read is read again: clocks of
	// replicas differ, and an insert takes its time.
	sweepOverlap = time.Minute
	// sweepWithout is SweepEvery at most while Redis is down.
	sweepWithout = time.Second
	tidyEvery    = time.Minute
)

// NewPublisher returns a Publisher.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 250 * time.Millisecond
	}
	if cfg.SweepEvery <= 0 {
		cfg.SweepEvery = 5 * time.Second
	}
	return &Publisher{cfg: cfg, stream: stream{cfg.Redis}}
}

// Run publishes until ctx ends, and returns nil then. What is down is waited out.
func (p *Publisher) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		err := p.step(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && !failing {
			p.cfg.Log.ErrorContext(ctx, "revocations are not published and it is tried again", "err", err)
		} else if err == nil && failing {
			p.cfg.Log.InfoContext(ctx, "revocations are published again")
		}
		failing = err != nil
		pause(ctx, p.cfg.Interval)
	}
	return nil
}

func (p *Publisher) step(ctx context.Context) error {
	now := p.cfg.Now()
	st, lost := p.stream.state(ctx)
	back := p.lost && lost == nil
	p.lost = lost != nil
	if lost == nil && !st.whole {
		return p.fill(ctx, st)
	}
	if back || now.Sub(p.looked) >= p.pace() {
		p.looked = now
		if err := p.sweep(ctx); err != nil {
			return errors.Join(lost, err)
		}
	}
	if lost == nil && now.Sub(p.tidied) >= tidyEvery {
		p.tidied = now
		return errors.Join(p.stream.trim(ctx), p.cfg.Store.PruneRevocations(ctx, now))
	}
	return lost
}

func (p *Publisher) pace() time.Duration {
	if p.lost || p.swept.IsZero() {
		return min(p.cfg.SweepEvery, sweepWithout)
	}
	return p.cfg.SweepEvery
}

// fill gives Redis everything. It reads the store after it has begun: what is
// stored later is announced by who stores it, into the same filling, or the
// filling is not marked as whole.
func (p *Publisher) fill(ctx context.Context, was state) error {
	token, err := p.stream.begin(ctx, rand.Text())
	if err != nil || token == "" {
		return err
	}
	start := p.cfg.Now()
	all, err := p.read(ctx, time.Time{})
	if err != nil {
		return err
	}
	there, err := p.announced(ctx)
	if err != nil {
		return err
	}
	var missing []Revocation
	for _, r := range all {
		if !there[r.ID()] {
			missing = append(missing, r)
		}
	}
	if err := p.stream.announce(ctx, missing...); err != nil {
		return err
	}
	marked, err := p.stream.mark(ctx, token)
	if err != nil || !marked {
		return err
	}
	p.swept, p.looked = start.Round(0), start
	p.cfg.Log.InfoContext(ctx, "revocations filled into redis", "needed", len(all), "missing", len(missing), "first", was.epoch == "")
	return nil
}

// announced returns the IDs of what the stream holds.
func (p *Publisher) announced(ctx context.Context) (map[string]bool, error) {
	there, after := map[string]bool{}, "0-0"
	for {
		entries, err := p.stream.page(ctx, after)
		if err != nil {
			return nil, err
		}
		for _, m := range entries {
			after = m.ID
			if r, err := parse(m); err == nil {
				there[r.ID()] = true
			}
		}
		if len(entries) < streamPage {
			return there, nil
		}
	}
}

// sweep teaches the Feed what the store has, and announces what the stream was
// not heard to hold.
func (p *Publisher) sweep(ctx context.Context) error {
	start, since := p.cfg.Now().Round(0), p.swept
	if since.After(start) {
		since = time.Time{} // the clock was set back: what was decided since seems older
	}
	if !since.IsZero() {
		since = since.Add(-sweepOverlap)
	}
	all, err := p.read(ctx, since)
	if err != nil {
		return err
	}
	load := p.cfg.Feed.loads.Load()
	if p.lost || load == 0 {
		return nil
	}
	if p.cfg.Feed.loading.Load() {
		p.looked = time.Time{} // what the stream holds will be known at the next look
		return nil
	}
	var unheard []Revocation
	for _, r := range all {
		if !p.cfg.Feed.known.heard(r, load) {
			unheard = append(unheard, r)
		}
	}
	if err := p.stream.announce(ctx, unheard...); err != nil {
		p.lost = outage.Is(err)
		return err
	}
	p.swept = start
	return nil
}

// read returns what was decided since a time. The Feed has it then, and
// everything when the time was zero.
func (p *Publisher) read(ctx context.Context, since time.Time) ([]Revocation, error) {
	var all []Revocation
	for r, err := range p.cfg.Store.Revocations(ctx, since, p.cfg.Now()) {
		if err != nil {
			return nil, err
		}
		p.cfg.Feed.known.add(r, 0)
		all = append(all, r)
	}
	if since.IsZero() {
		p.cfg.Feed.ready.Store(true)
	}
	return all, nil
}
