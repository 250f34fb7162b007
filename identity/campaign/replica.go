package campaign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	crand "crypto/rand"

	"golang.org/x/sync/errgroup"
)

// Time limits of a Replica.
const (
	placeTimeout  = 2 * time.Second // longest wait of a login for its place
	appendTimeout = 2 * time.Second // of one insert
	readTimeout   = 2 * time.Second // of reading on
	loadTimeout   = 2 * time.Minute // of reading the whole log

	tickEvery   = 250 * time.Millisecond
	checkEvery  = time.Second            // between comparisons with the stores
	freshFor    = 300 * time.Millisecond // a grant may be reported from a log read this long ago
	readableFor = time.Second            // how long after a read the log counts as readable
	beatFor     = time.Second            // a beat may be raised for a log read this long ago
	probeEvery  = time.Second            // between tries while appends fail
	failures    = 3                      // appends that fail before logins are no longer kept waiting

	batchesAfterAppend = 2 // of entries for the mirror; a mirror that lacks more is filled by the ticks

	turnPatience = time.Second            // after which a replica appends without the turn
	spreadMost   = 200 * time.Millisecond // maximum random delay of an append without the turn

	// MaxSkew is how far the clocks of this process and of the database may
	// differ. Beyond it nothing is appended, and tokens have wrong times as well.
	MaxSkew = 5 * time.Second
)

// ReplicaConfig configures a Replica. Store and Mirror are required.
type ReplicaConfig struct {
	Store  Store
	Mirror Mirror           // its calls must be bounded in time: logins wait for them
	Log    *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now

	// Placed is called for each login with its status and how long Place took;
	// Appended for each insert with the number of users in it. Either may be nil.
	Placed   func(s Status, took time.Duration)
	Appended func(users int, took time.Duration, err error)
}

// Replica is one process's copy of the log. It gives users their places, reports
// their standing, and keeps the mirror up to date. It is safe for concurrent use,
// and does nothing before Run.
type Replica struct {
	cfg  ReplicaConfig
	name string // names this replica for the turn

	mu      sync.Mutex
	reader  *reader   // nil until the log has been read once
	readAt  time.Time // when the last read that reached the end began
	damage  error     // where reading stopped; nil: at the end of the log
	behind  string    // what the database lacks; empty: nothing
	clock   clock
	checked time.Time     // when log, database and mirror were last compared
	doubt   bool          // an insert has failed since then: compare before the next one
	failed  int           // appends that failed in a row
	probed  time.Time     // when a login was last admitted to try
	took    time.Duration // of the last append
	queue   []*waiter

	mirror mirrorView

	wakeReader   chan struct{}
	wakeAppender chan struct{}
	nextRead     *read // guarded by mu; the read that the next caller of fresh shares
}

// waiter is a login that is waiting for its place.
type waiter struct {
	user  string
	since time.Time
	done  chan struct{} // closed when the login should be decided again
}

// read is a read of the log to its end. All callers that asked before it began
// share it.
type read struct {
	done chan struct{}
	err  error
}

// clock is this process's last reading of the database's clock.
type clock struct {
	read time.Time     // the database's time
	at   time.Time     // when, by this process's monotonic clock
	skew time.Duration // this process's clock minus the database's
}

// mirrorView is the state of the mirror as a Replica last saw it.
type mirrorView struct {
	state   MirrorState // as last seen
	foreign bool        // it belongs to another database
	err     error       // of the last call; nil: it answered
}

// NewReplica returns a Replica.
func NewReplica(cfg ReplicaConfig) *Replica {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Placed == nil {
		cfg.Placed = func(Status, time.Duration) {}
	}
	if cfg.Appended == nil {
		cfg.Appended = func(int, time.Duration, error) {}
	}
	return &Replica{
		cfg: cfg, name: crand.Text(),
		wakeReader: make(chan struct{}, 1), wakeAppender: make(chan struct{}, 1),
	}
}

// Run follows the log until ctx ends, then returns nil. It retries for as long as
// a store is down.
func (r *Replica) Run(ctx context.Context) error {
	for r.load(ctx) != nil {
		if !pause(ctx, tickEvery) {
			return nil
		}
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { r.runReader(running); return nil })
	group.Go(func() error { r.runAppender(running); return nil })
	group.Go(func() error { r.runTicks(running); return nil })
	return group.Wait()
}

// load reads the log for the first time, a damaged one up to the damage.
func (r *Replica) load(ctx context.Context) error {
	began := r.cfg.Now()
	bounded, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	reader, err := load(bounded, r.cfg.Store)
	var damage *DamageError
	if err != nil && !errors.As(err, &damage) {
		r.cfg.Log.WarnContext(ctx, "campaign log not read yet: logins are answered with retry", "err", err)
		return err
	}
	r.mu.Lock()
	r.reader = reader
	r.mu.Unlock()
	r.readDone(ctx, reader, began, err)
	return nil
}

// pause waits, and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fresh reads the log to its end. Afterwards the replica knows every entry that
// was acknowledged before the call. A call may share a read that has not begun
// yet, and never joins one in progress.
func (r *Replica) fresh(ctx context.Context) error {
	r.mu.Lock()
	if r.nextRead == nil {
		r.nextRead = &read{done: make(chan struct{})}
		wake(r.wakeReader)
	}
	shared := r.nextRead
	r.mu.Unlock()
	select {
	case <-shared.done:
		return shared.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Replica) runReader(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wakeReader:
		}
		r.mu.Lock()
		shared, reader := r.nextRead, r.reader
		r.nextRead = nil
		r.mu.Unlock()
		if shared == nil {
			continue
		}
		began := r.cfg.Now()
		bounded, cancel := context.WithTimeout(ctx, readTimeout)
		shared.err = reader.readOn(bounded)
		cancel()
		r.readDone(ctx, reader, began, shared.err)
		close(shared.done)
	}
}

// readDone records the result of a read of the log.
func (r *Replica) readDone(ctx context.Context, reader *reader, began time.Time, err error) {
	var damage *DamageError
	isDamage := errors.As(err, &damage)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader != reader {
		return // it was replaced meanwhile
	}
	if isDamage && (r.damage == nil || r.damage.Error() != damage.Error()) {
		r.cfg.Log.ErrorContext(ctx, "campaign log is damaged: nothing is appended until it is repaired", "err", damage)
	}
	switch {
	case isDamage:
		r.damage = damage
	case err == nil:
		if r.damage != nil {
			r.cfg.Log.InfoContext(ctx, "campaign log is no longer damaged")
		}
		r.damage, r.readAt = nil, began
	}
}

// runTicks follows the log, compares the stores, and fills the mirror, four times
// a second.
func (r *Replica) runTicks(ctx context.Context) {
	for ctx.Err() == nil {
		r.tick(ctx)
		pause(ctx, tickEvery)
	}
}

func (r *Replica) tick(ctx context.Context) {
	r.mu.Lock()
	compare := r.behind != "" || r.cfg.Now().Sub(r.checked) >= checkEvery/2 // twice as often as needed, so that no append has to wait for it
	r.mu.Unlock()
	var err error
	if compare {
		err = r.check(ctx)
	} else {
		err = r.fresh(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.DebugContext(ctx, "campaign log not read", "err", err)
	}
	if r.isDue() {
		wake(r.wakeAppender)
	}
	r.fill(ctx, math.MaxInt, "")
}

// check verifies that the database still holds what this process and the mirror
// have read from it, and reads its clock. It fails when the database does not
// answer.
func (r *Replica) check(ctx context.Context) error {
	began := r.cfg.Now()
	state, mirrored := r.mirrorState(ctx) // before the log is read on
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := r.readClock(bounded); err != nil {
		return err
	}
	r.mu.Lock()
	reader := r.reader
	r.mu.Unlock()
	held, err := reader.holds(bounded)
	if err != nil {
		return err
	}
	lacks := ""
	if !held && !r.reload(bounded) {
		lacks = "mongodb has lost the last entry that this process has read: it was restored from an older backup"
	}
	if err := r.fresh(bounded); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if mirrored {
		r.reader.mu.RLock()
		log := r.reader.log
		r.noteOrigin(ctx, state.Origin, state.Origin != "" && state.Origin != log.Origin)
		if lacks == "" {
			lacks = log.ahead(state)
		}
		r.reader.mu.RUnlock()
	}
	if lacks != r.behind {
		if lacks != "" {
			r.cfg.Log.ErrorContext(ctx, "the campaign log lacks entries: logins are answered with retry until `earlybird campaign restore` has put them back", "reason", lacks)
		} else {
			r.cfg.Log.InfoContext(ctx, "the campaign log is complete again")
		}
	}
	r.behind, r.checked, r.doubt = lacks, began, false
	return nil
}

// reload reads the log from its start and switches to it if its epoch is greater:
// then an operator has given up entries that this process still holds.
func (r *Replica) reload(ctx context.Context) bool {
	anew, err := load(ctx, r.cfg.Store)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if anew.log.place().Epoch <= r.reader.log.place().Epoch {
		return false
	}
	r.reader = anew
	return true
}

// readClock compares the clocks of this process and of the database.
func (r *Replica) readClock(ctx context.Context) error {
	began := r.cfg.Now()
	said, err := r.cfg.Store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	took := r.cfg.Now().Sub(began)
	c := clock{read: said, at: began.Add(took / 2)}
	c.skew = c.at.Round(0).Sub(said.Round(0))
	r.mu.Lock()
	defer r.mu.Unlock()
	if was := r.clock.apart(); c.apart() && !was {
		r.cfg.Log.ErrorContext(ctx, "the clocks of this process and of mongodb differ: logins are answered with retry", "skew", c.skew, "most", MaxSkew)
	}
	r.clock = c
	return nil
}

func (c clock) apart() bool { return c.skew.Abs() > MaxSkew }

// now converts a time by this process's clock to the database's clock.
func (c clock) now(at time.Time) time.Time { return c.read.Add(at.Sub(c.at)) }

// trouble is why no login can be given a place now, or nil. mu must be held.
func (r *Replica) trouble() error {
	switch {
	case r.reader == nil || r.clock.at.IsZero():
		return notAvailable("not read yet")
	case r.damage != nil:
		return notAvailable(r.damage.Error())
	case r.behind != "":
		return notAvailable(r.behind)
	case r.clock.apart():
		return notAvailable(fmt.Sprintf("the clocks of this process and of mongodb differ by %s", r.clock.skew))
	}
	return nil
}

// Ready returns nil when users can be given places, as far as that can be known
// without an append.
func (r *Replica) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble()
}

func (r *Replica) isDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble() != nil {
		return false
	}
	return r.clockDemands()
}

// clockDemands reports whether an entry is due by the clock. mu must be held.
func (r *Replica) clockDemands() bool {
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	_, due := r.reader.log.due(r.clock.now(r.cfg.Now()))
	return due
}

// mirrorState reads the mirror's state, and reports whether the mirror answered.
func (r *Replica) mirrorState(ctx context.Context) (MirrorState, bool) {
	state, err := callMirror(ctx, r, r.cfg.Mirror.State)
	return state, err == nil
}

// callMirror makes one call to the mirror, and records whether it answered.
func callMirror[T any](ctx context.Context, r *Replica, call func(context.Context) (T, error)) (T, error) {
	answer, err := call(ctx)
	if ctx.Err() != nil {
		return answer, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch was := r.mirror.err; {
	case err != nil && was == nil:
		r.cfg.Log.WarnContext(ctx, "redis does not answer: edges learn of new places later", "err", err)
	case err == nil && was != nil:
		r.cfg.Log.InfoContext(ctx, "redis answers again")
	}
	r.mirror.err = err
	return answer, err
}

// fill brings the mirror forward to the log, by most batches at most, raises its
// beat when it is complete, and gives the turn back for the replica named release.
func (r *Replica) fill(ctx context.Context, most int, release string) {
	r.mu.Lock()
	from := r.mirror.state.Seq + 1
	r.mu.Unlock()
	state, err := fillMirror(func(b Batch) (MirrorState, error) {
		return callMirror(ctx, r, func(ctx context.Context) (MirrorState, error) { return r.cfg.Mirror.Apply(ctx, b) })
	}, r.batch, from, most, release)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mirror.state = state
	r.noteOrigin(ctx, state.Origin, state.Answer == AnswerForeign)
	if state.Answer == AnswerNewer || state.Answer == AnswerDiverged {
		r.checked = time.Time{} // the next tick compares
	}
}

// noteOrigin records whether the mirror belongs to another database. mu must be
// held.
func (r *Replica) noteOrigin(ctx context.Context, origin string, foreign bool) {
	if foreign && !r.mirror.foreign {
		r.cfg.Log.ErrorContext(ctx, "redis belongs to another database: nothing is written to it, and edges learn nothing new; see `earlybird redis adopt`", "origin", origin)
	}
	r.mirror.foreign = foreign
}

// batch returns the batch that starts at from, and whether the mirror is complete
// with it.
func (r *Replica) batch(from int64) (Batch, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	b := r.reader.log.batch(from)
	end := int64(-1)
	if f := r.reader.log.inForce; f != nil {
		end = f.seq()
	}
	complete := b.From+int64(len(b.Entries)) == end+1
	if now := r.cfg.Now(); complete && r.trouble() == nil && now.Sub(r.readAt) < beatFor {
		b.Beat = r.clock.now(r.readAt)
	}
	return b, complete
}

// jitter is a random time up to most.
func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most) //nolint:gosec // G404: spreads attempts, guards nothing
}
