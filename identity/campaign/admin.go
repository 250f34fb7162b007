package campaign

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/earlybird/earlybird/identity/outage"
)

// settle is how long a command waits after its entry, before it returns: by then
// no replica says anything that the entry forbids.
const settle = 500 * time.Millisecond

// commitFor is how long a command tries to append its entry.
const commitFor = 10 * time.Second

// AdminConfig configures an Admin. Store, Mirror and By are required.
type AdminConfig struct {
	Store  Store
	Mirror Mirror
	By     string           // who decides, as the entries say
	Now    func() time.Time // nil: time.Now
}

// Admin appends what operators decide. A command reads the log, shows it, asks,
// and commits: somebody else's decision in between is a *ConflictError. It is
// for one command at a time.
type Admin struct {
	cfg    AdminConfig
	name   string // for the turn
	reader *reader
	shown  map[int64]int64 // by campaign: the last entry that is no arrival, as shown
}

// NewAdmin returns an Admin.
func NewAdmin(cfg AdminConfig) *Admin {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Admin{cfg: cfg, name: crand.Text()}
}

// ConflictError reports that somebody else decided something after the log was
// shown.
type ConflictError struct{ Entry Entry }

func (e *ConflictError) Error() string {
	if e.Entry.By == byClock {
		return fmt.Sprintf("the clock was faster: the %s of campaign %d came at %s; look at the campaign and decide anew",
			map[Kind]string{KindOpen: "start", KindEnd: "end"}[e.Entry.Kind], e.Entry.Campaign, e.Entry.At.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s was faster: %q of campaign %d at %s; look at the campaign and decide anew",
		e.Entry.By, e.Entry.Kind, e.Entry.Campaign, e.Entry.At.Format(time.RFC3339))
}

// UncertainError reports that it is not known whether the entry was appended:
// the database did not answer in time.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return fmt.Sprintf("mongodb did not say whether it was done; look with `earlybird campaign status` before you try again: %v", e.Err)
}

func (e *UncertainError) Unwrap() error { return e.Err }

// BehindError reports that the database lacks entries that the mirror has.
type BehindError struct{ Reason string }

func (e *BehindError) Error() string {
	return e.Reason + ": nothing may be appended before `earlybird campaign restore`"
}

// ForeignError reports a mirror that belongs to another database.
type ForeignError struct{ Origin string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("redis belongs to another database, origin %s: check the URLs, or see `earlybird redis adopt`", e.Origin)
}

// Read reads the log, for a command to show. On a *DamageError it returns the
// log before the damaged entry as well.
func (a *Admin) Read(ctx context.Context) (*Log, error) {
	reader, err := load(ctx, a.cfg.Store)
	if reader == nil {
		return nil, err
	}
	a.reader, a.shown = reader, map[int64]int64{}
	for _, f := range reader.log.folds() {
		a.shown[f.campaign] = f.lastDecision().Seq
	}
	return reader.log, err
}

// ReadOn reads what was appended since Read, which it calls first, and again
// when the database no longer has what was read.
func (a *Admin) ReadOn(ctx context.Context) (*Log, error) {
	if a.reader == nil {
		return a.Read(ctx)
	}
	holds, err := a.reader.holds(ctx)
	if err != nil {
		return nil, err
	}
	if !holds {
		return a.Read(ctx)
	}
	return a.reader.log, a.reader.readOn(ctx)
}

// Campaign reads the log of one campaign.
func (a *Admin) Campaign(ctx context.Context, number int64) (*Fold, error) {
	f := newFold(number)
	for e, err := range a.cfg.Store.Entries(ctx, number, 0) {
		if err == nil {
			err = f.apply(e)
		}
		if err != nil {
			return f, err
		}
	}
	if f.seq() < 0 {
		return nil, fmt.Errorf("campaign %d: %w", number, ErrNoCampaign)
	}
	return f, nil
}

// Change makes the next entry of a log, or refuses with ErrRefused,
// ErrNoCampaign or an *InvalidError. at is the database's time.
type Change func(l *Log, at time.Time) (*Fold, Entry, error)

// Committed is what a command has done.
type Committed struct {
	Entry Entry
	// Mirror is why the edges do not know of it yet; nil: they do. Redis is filled
	// by the identity service as soon as it answers.
	Mirror error
}

// Try reports whether the change would be refused now, by the log that Read
// returned.
func (a *Admin) Try(change Change) error {
	_, _, err := a.draft(change, a.cfg.Now())
	return err
}

func (a *Admin) draft(change Change, at time.Time) (*Fold, Entry, error) {
	f, e, err := change(a.reader.log, at)
	if err != nil {
		return nil, Entry{}, err
	}
	e.By = a.cfg.By
	if err := f.allows(e); err != nil {
		return nil, Entry{}, err
	}
	return f, e, nil
}

// Commit appends the change, provided that nobody else has decided anything
// since Read. It returns half a second after its entry was acknowledged. It
// fails with what the change refuses with, or with a *ConflictError, a
// *BehindError, a *ForeignError, a *DamageError, an *UncertainError, or an
// *outage.Error when nothing was appended.
func (a *Admin) Commit(ctx context.Context, change Change) (Committed, error) {
	bounded, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	e, err := a.commit(bounded, change)
	if err != nil {
		return Committed{}, err
	}
	acknowledged := a.cfg.Now()
	a.shown[e.Campaign] = e.Seq
	if opens, due := a.reader.log.due(e.At); due { // it starts at once: no need to wait for a replica to see it
		if err := a.appendDue(bounded, opens); err == nil {
			a.shown[e.Campaign] = opens.Seq
		}
	}
	done := Committed{Entry: e, Mirror: a.fill(ctx)}
	pause(ctx, settle-a.cfg.Now().Sub(acknowledged))
	return done, nil
}

func (a *Admin) commit(ctx context.Context, change Change) (Entry, error) {
	if err := a.compare(ctx); err != nil {
		return Entry{}, err
	}
	id := crand.Text() // the same for every try: of several that land late, one finds its place
	sent := false
	for {
		_ = a.cfg.Mirror.Seize(ctx, a.name) // a hint: without it replicas may be faster a few times
		if err := a.reader.readOn(ctx); err != nil {
			return Entry{}, uncertain(sent, err)
		}
		if e, ok := a.find(id); ok {
			return e, nil
		}
		if e, ok := a.overtaken(); ok {
			return Entry{}, &ConflictError{e}
		}
		at, err := a.cfg.Store.Now(ctx)
		if err != nil {
			return Entry{}, uncertain(sent, err)
		}
		if e, due := a.reader.log.due(at); due { // the clock comes first
			if err := a.appendDue(ctx, e); err != nil {
				return Entry{}, uncertain(sent, err)
			}
			continue
		}
		f, e, err := a.draft(change, at)
		if err != nil {
			return Entry{}, err
		}
		e.ID = id
		e = f.finish(e)
		sent = true
		if err := a.cfg.Store.Append(ctx, e); err == nil {
			return e, a.reader.add(e)
		} else if ctx.Err() != nil || !isTaken(err) && !outage.Is(err) {
			return Entry{}, uncertain(sent, err)
		}
	}
}

// appendDue appends what the clock demands. That somebody else did is as good.
func (a *Admin) appendDue(ctx context.Context, e Entry) error {
	e = a.reader.log.fold(e.Campaign).finish(e)
	if err := a.cfg.Store.Append(ctx, e); err != nil && !isTaken(err) {
		return err
	}
	return a.reader.readOn(ctx)
}

func uncertain(sent bool, err error) error {
	var damage *DamageError
	if sent && !errors.As(err, &damage) {
		return &UncertainError{err}
	}
	return err
}

// compare refuses while the database lacks what the mirror has, and when the
// mirror is another database's. Without Redis there is nothing to compare.
func (a *Admin) compare(ctx context.Context) error {
	state, mirrorErr := a.cfg.Mirror.State(ctx)
	if err := a.reader.readOn(ctx); err != nil {
		return err
	}
	if mirrorErr != nil {
		return nil //nolint:nilerr // a command works without Redis
	}
	if state.Origin != "" && state.Origin != a.reader.log.Origin {
		return &ForeignError{state.Origin}
	}
	if lacks := a.reader.log.ahead(state); lacks != "" {
		return &BehindError{lacks}
	}
	return nil
}

// find looks for the entry with this id among the decisions since the log was
// shown.
func (a *Admin) find(id string) (Entry, bool) {
	for _, f := range a.reader.log.folds() {
		for _, e := range f.others {
			if e.ID == id {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// overtaken returns a decision that was made since the log was shown.
func (a *Admin) overtaken() (Entry, bool) {
	for _, f := range a.reader.log.folds() {
		seq, known := a.shown[f.campaign]
		for _, e := range f.others {
			if !known || e.Seq > seq {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// fill brings the mirror forward to the log.
func (a *Admin) fill(ctx context.Context) error {
	state, err := fillMirror(func(b Batch) (MirrorState, error) { return a.cfg.Mirror.Apply(ctx, b) }, func(from int64) (Batch, bool) {
		b := a.reader.log.batch(from)
		f := a.reader.log.inForce
		return b, f == nil || b.From+int64(len(b.Entries)) == f.seq()+1
	}, 1<<62, math.MaxInt, a.name)
	if err == nil && state.Answer != AnswerOK && state.Answer != AnswerAhead {
		err = outage.New("redis", "bring the mirror forward", fmt.Errorf("it is %s", state.Answer))
	}
	return err
}

// latest is the campaign that commands are about: the last that was started.
func (l *Log) current() (*Fold, error) {
	if l.latest == nil {
		return nil, ErrNoCampaign
	}
	return l.latest, nil
}

// Start begins a campaign. A start that is zero or past is now.
func Start(s Settings) Change {
	return func(l *Log, at time.Time) (*Fold, Entry, error) {
		number, ok := l.following()
		if !ok {
			return nil, Entry{}, fmt.Errorf("%w: campaign %d, %q, has not ended; end it first", ErrRefused, l.latest.campaign, l.latest.settings.Name)
		}
		s := s
		if s.StartsAt.Before(at) {
			s.StartsAt = at
		}
		s.StartsAt, s.EndsAt = inMilliseconds(s.StartsAt), inMilliseconds(s.EndsAt)
		if err := s.Validate(); err != nil {
			return nil, Entry{}, err
		}
		f := newFold(number)
		e := f.draft(KindStart, "", at)
		e.Origin, e.Epoch, e.Settings = l.Origin, l.epochOfNext(), &s
		return f, e, nil
	}
}

// inMilliseconds is the time as entries have it.
func inMilliseconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// Pause has logins not count until Resume.
func Pause() Change { return decide(KindPause) }

// Resume has logins count again.
func Resume() Change { return decide(KindResume) }

// End ends the campaign for good, or cancels one that has not opened.
func End() Change { return decide(KindEnd) }

func decide(kind Kind) Change {
	return func(l *Log, at time.Time) (*Fold, Entry, error) {
		f, err := l.current()
		if err != nil {
			return nil, Entry{}, err
		}
		return f, f.draft(kind, "", at), nil
	}
}

// Revise changes the settings. Slots can only grow; who was turned away is
// granted at once, in their order.
func Revise(revise func(*Settings)) Change {
	return func(l *Log, at time.Time) (*Fold, Entry, error) {
		f, err := l.current()
		if err != nil {
			return nil, Entry{}, err
		}
		s := f.settings
		revise(&s)
		s.StartsAt, s.EndsAt = f.settings.StartsAt, inMilliseconds(s.EndsAt)
		if s == f.settings {
			return nil, Entry{}, fmt.Errorf("%w: the campaign has these settings already", ErrRefused)
		}
		if !s.EndsAt.IsZero() && s.EndsAt != f.settings.EndsAt && !s.EndsAt.After(at) {
			return nil, Entry{}, &InvalidError{Field: "ends", Reason: "must be in the future; `earlybird campaign end` ends it now"}
		}
		e := f.draft(KindChange, "", at)
		e.Settings = &s
		return f, e, nil
	}
}

// Void has a user's place in the campaign in force no longer count. The grant
// passes on to the next in line.
func Void(user string) Change {
	return func(l *Log, at time.Time) (*Fold, Entry, error) {
		f := l.inForce
		if f == nil {
			return nil, Entry{}, ErrNoCampaign
		}
		e := f.draft(KindVoid, "", at)
		e.User = user
		return f, e, nil
	}
}

// Reinstate has a voided place count again. If the grant has passed on, the
// entry adds a slot: nobody loses what they were told.
func Reinstate(user string) Change {
	return func(l *Log, at time.Time) (*Fold, Entry, error) {
		f := l.inForce
		if f == nil {
			return nil, Entry{}, ErrNoCampaign
		}
		e := f.draft(KindReinstate, "", at)
		e.User = user
		if f.passedOn(e) {
			s := f.settings
			s.Slots++
			e.Settings = &s
		}
		return f, e, nil
	}
}

// passedOn reports whether a reinstatement without another slot would take the
// grant from somebody who has it.
func (f *Fold) passedOn(e Entry) bool {
	for p := f.limitAfter(e) + 1; p <= min(f.limit, f.Last()); p++ {
		if !f.Voided(p) {
			return true
		}
	}
	return false
}

// lastDecision is the last entry that is no arrival.
func (f *Fold) lastDecision() Entry { return f.others[len(f.others)-1] }
