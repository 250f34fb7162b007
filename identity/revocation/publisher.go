package revocation

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// PublisherConfig configures a Publisher. Store, Redis and Feed are required;
// times that are zero get their defaults.
type PublisherConfig struct {
	Store Store
	Redis redis.UniversalClient
	Feed  *Feed            // of this process; the caller runs it
	Log   *slog.Logger     // nil: slog.Default()
	Now   func() time.Time // nil: time.Now

	// Interval is the pause between looks at Redis. When no replica has raised
	// the beat for two of them, this one compares the stream with the store and
	// raises it. 250 ms.
	Interval time.Duration
	// SweepEvery is the time between comparisons in any case; while Redis is
	// down it is how replicas hear of each other's revocations, and then a
	// second at most. 5 s.
	SweepEvery time.Duration
}

// Publisher adds to Redis the revocations that it lacks. It also gives the Feed of
// its own process what the store has, so the identity service obeys revocations
// with or without Redis. Every replica runs one; doing the same twice is harmless.
type Publisher struct {
	cfg    PublisherConfig
	stream stream

	lost   bool      // Redis did not answer when last looked at, or was another database's
	looked time.Time // when the store was last read
	load   uint64    // the Feed's reading of the stream that swept is about
	swept  time.Time // the stream held everything decided before this; wall clock only, like the stored times
	seen   State     // at the last look
	beatAt time.Time // when the beat was last seen to be a new one
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
		select {
		case <-ctx.Done():
		case <-time.After(p.cfg.Interval):
		}
	}
	return nil
}

func (p *Publisher) step(ctx context.Context) error {
	now := p.cfg.Now()
	p.cfg.Feed.tidy(ctx)
	origin, st, lost := p.look(ctx)
	back := p.lost && lost == nil
	p.lost = lost != nil
	if lost == nil {
		if !st.Whole || p.cfg.Feed.lost(st.Epoch) {
			return p.renew(ctx, origin, st)
		}
		if st.Epoch != p.seen.Epoch || !st.Beat.Equal(p.seen.Beat) {
			p.beatAt = now
		}
		p.seen = st
	}
	if back || p.due(now) {
		p.looked = now
		if err := p.sweep(ctx, origin); err != nil {
			return errors.Join(lost, err)
		}
	}
	if lost == nil && now.Sub(p.tidied) >= tidyEvery {
		p.tidied = now
		return errors.Join(p.stream.trim(ctx, origin, now), p.cfg.Store.PruneRevocations(ctx, now))
	}
	return lost
}

// look reads the state of the stream, and fails when it is not for this
// database to write to.
func (p *Publisher) look(ctx context.Context) (origin string, st State, err error) {
	if origin, err = p.cfg.Store.Origin(ctx); err != nil {
		return "", State{}, err
	}
	if st, err = p.stream.state(ctx); err != nil {
		return "", State{}, err
	}
	foreign := st.Origin != "" && st.Origin != origin
	p.cfg.Feed.foreign.Store(foreign)
	if foreign {
		return "", State{}, &ForeignError{Theirs: st.Origin, Ours: origin}
	}
	return origin, st, nil
}

func (p *Publisher) due(now time.Time) bool {
	return now.Sub(p.looked) >= p.pace() || !p.lost && now.Sub(p.beatAt) >= 2*p.cfg.Interval
}

func (p *Publisher) pace() time.Duration {
	if p.lost || p.swept.IsZero() {
		return min(p.cfg.SweepEvery, sweepWithout)
	}
	return p.cfg.SweepEvery
}

// renew begins a new epoch. The next sweep, after the Feed has read what is in
// the stream, announces what is missing from it. Of several replicas one begins
// the epoch; the others give it two intervals to raise the beat before they
// sweep too.
func (p *Publisher) renew(ctx context.Context, origin string, was State) error {
	lossy := ""
	if was.Whole {
		lossy = was.Epoch
	}
	next := rand.Text()
	epoch, err := p.stream.renew(ctx, origin, next, lossy)
	if err == nil && epoch == next {
		p.looked = time.Time{}
		p.cfg.Log.InfoContext(ctx, "revocations are filled into redis", "epoch", epoch, "first", was.Origin == "", "lossy", was.Whole)
	}
	return err
}

// sweep gives the Feed what the store has, announces what the Feed has not read
// from the stream, and raises the beat.
func (p *Publisher) sweep(ctx context.Context, origin string) error {
	start, pos := p.cfg.Now().Round(0), p.cfg.Feed.position()
	if pos.load != p.load {
		p.load, p.swept = pos.load, time.Time{} // what an earlier reading brought says nothing of this one
	}
	since := p.swept
	if since.After(start) {
		since = time.Time{} // the clock was set back: what was decided since seems older
	}
	if !since.IsZero() {
		since = since.Add(-sweepOverlap)
	}
	all, err := p.read(ctx, since)
	if err != nil || p.lost {
		return err
	}
	if pos.loading || pos.load == 0 || pos.epoch != p.seen.Epoch {
		p.looked = time.Time{} // what the stream holds will be known at the next look
		return nil
	}
	complete := true // but for what the next sweep reads again
	var unheard []Revocation
	for _, r := range all {
		if !p.cfg.Feed.known.heard(r, pos.load) {
			unheard = append(unheard, r)
			complete = complete && r.At.After(start.Add(-sweepOverlap))
		}
	}
	return p.bring(ctx, origin, start, unheard, complete)
}

// bring announces what the stream lacks, and raises the beat.
func (p *Publisher) bring(ctx context.Context, origin string, start time.Time, unheard []Revocation, complete bool) error {
	last, err := p.stream.announce(ctx, origin, unheard...)
	if err != nil {
		p.lost = true
		return err
	}
	for _, r := range unheard {
		p.cfg.Feed.known.add(r, 0, p.load)
	}
	pos := p.cfg.Feed.position()
	if pos.load != p.load {
		p.looked = time.Time{}
		return nil
	}
	if complete {
		p.swept = start
	}
	var rests []string // the entries the beat depends on: the last one read, and the last one announced
	for _, id := range []string{pos.at, last} {
		if id != "" {
			rests = append(rests, id)
		}
	}
	if _, err := p.stream.beat(ctx, origin, pos.epoch, p.cfg.Now(), rests...); err != nil {
		p.lost = true
		return err
	}
	return nil // a beat that was refused is tried again after the next look
}

// read returns what was decided since a time. The Feed has it then, and
// everything when the time was zero.
func (p *Publisher) read(ctx context.Context, since time.Time) ([]Revocation, error) {
	var all []Revocation
	for r, err := range p.cfg.Store.Revocations(ctx, since, p.cfg.Now()) {
		if err != nil {
			return nil, err
		}
		p.cfg.Feed.known.add(r, 0, 0)
		all = append(all, r)
	}
	if since.IsZero() {
		p.cfg.Feed.ready.Store(true)
	}
	return all, nil
}
