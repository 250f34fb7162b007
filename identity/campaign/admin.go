package campaign

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// settle is how long a command waits after its entry before it returns. By then no
// replica gives an answer that the entry rules out.
const settle = 500 * time.Millisecond

// commitFor is how long a command tries to append its entry.
const commitFor = 10 * time.Second

// AdminConfig configures an Admin. Store, Mirror and By are required.
type AdminConfig struct {
	Store  Store
	Mirror Mirror
	By     string           // who decides; recorded in the entries
	Now    func() time.Time // nil: time.Now
}

// Admin appends operators' decisions. A command reads the log, shows it, asks for
// confirmation, and commits; if another decision came in between, it fails with a
// *ConflictError. An Admin serves one command at a time.
type Admin struct {
	cfg    AdminConfig
	name   string // in the mirror, for the turn
	reader *reader
	shown  map[int64]int64 // by campaign: the last decision that was shown
}

// NewAdmin returns an Admin.
func NewAdmin(cfg AdminConfig) *Admin {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Admin{cfg: cfg, name: crand.Text()}
}

// ConflictError reports that another decision was made after the log was shown.
type ConflictError struct{ Entry Entry }

func (e *ConflictError) Error() string {
	if e.Entry.By == byClock {
		return fmt.Sprintf("the clock was faster: the %s of campaign %d came at %s; look at the campaign and decide again",
			map[Kind]string{KindOpen: "start", KindEnd: "end"}[e.Entry.Kind], e.Entry.Campaign, e.Entry.At.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s was faster: %q of campaign %d at %s; look at the campaign and decide again",
		e.Entry.By, e.Entry.Kind, e.Entry.Campaign, e.Entry.At.Format(time.RFC3339))
}

// UncertainError reports that the entry may or may not have been appended: the
// database did not answer in time.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return fmt.Sprintf("mongodb did not confirm the change; check with `earlybird campaign status` before you try again: %v", e.Err)
}

func (e *UncertainError) Unwrap() error { return e.Err }

// BehindError reports that the database lacks entries that the mirror has.
type BehindError struct{ Reason string }

func (e *BehindError) Error() string {
	return e.Reason + ": run `earlybird campaign restore` first"
}

// ForeignError reports a mirror that belongs to another database.
type ForeignError struct{ Origin string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("redis belongs to another database, origin %s: check the URLs, or see `earlybird redis adopt`", e.Origin)
}

// Read reads the log, for a command to show. With a *DamageError it also returns
// the log up to the damaged entry.
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

// ReadOn reads the entries appended since the last call. It calls Read the first
// time, and again when the database no longer has the entries read before.
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

// Change builds the next entry of a campaign's log, or fails with ErrRefused,
// ErrNoCampaign or an *InvalidError. at is the database's time.
type Change func(l *Log, at time.Time) (*Fold, Entry, error)

// Committed is the result of a Commit.
type Committed struct {
	Entry Entry
	// Mirror is why the edges do not have the entry yet; nil: they do. The identity
	// service fills Redis as soon as Redis answers.
	Mirror error
}

// Try returns the error with which the change would be refused now, according to
// the log that Read returned.
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

// Commit appends the change, provided that no other decision was made since Read.
// It returns half a second after its entry was acknowledged. It fails with the
// error of the change, or with a *ConflictError, a
// *BehindError, a *ForeignError, a *DamageError, an *UncertainError, or an
// *unavailable.Error when nothing was appended.
func (a *Admin) Commit(ctx context.Context, change Change) (Committed, error) {
	bounded, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	e, err := a.commit(bounded, change)
	if err != nil {
		return Committed{}, err
	}
	acknowledged := a.cfg.Now()
	a.shown[e.Campaign] = e.Seq
	if opens, due := a.reader.log.due(e.At); due { // it starts at once: do not wait for a replica to notice
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
	id := crand.Text() // the same for every attempt, so that one that lands late is found
	sent := false
	for {
		_ = a.cfg.Mirror.Seize(ctx, a.name) // a hint: without it replicas may win a few times
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
		if e, due := a.reader.log.due(at); due { // what is due by the clock comes first
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
		} else if ctx.Err() != nil || !isTaken(err) && !unavailable.Is(err) {
			return Entry{}, uncertain(sent, err)
		}
	}
}

// appendDue appends an entry that is due by the clock. It succeeds too when a
// replica was faster.
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

// compare fails while the database lacks entries that the mirror has, and when the
// mirror belongs to another database. Without Redis there is nothing to compare.
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

// fill brings the mirror up to date with the log.
func (a *Admin) fill(ctx context.Context) error {
	state, err := fillMirror(func(b Batch) (MirrorState, error) { return a.cfg.Mirror.Apply(ctx, b) }, func(from int64) (Batch, bool) {
		b := a.reader.log.batch(from)
		f := a.reader.log.inForce
		return b, f == nil || b.From+int64(len(b.Entries)) == f.seq()+1
	}, 1<<62, math.MaxInt, a.name)
	if err == nil && state.Answer != AnswerOK && state.Answer != AnswerAhead {
		err = unavailable.New("redis", "bring the mirror forward", fmt.Errorf("it is %s", state.Answer))
	}
	return err
}

// current is the campaign that commands act on: the last one that was started.
func (l *Log) current() (*Fold, error) {
	if l.latest == nil {
		return nil, ErrNoCampaign
	}
	return l.latest, nil
}

// Start begins a campaign. A start time that is zero or in the past means now.
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

// inMilliseconds is the time with the precision of entries, in UTC.
func inMilliseconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// Pause stops logins from counting until Resume.
func Pause() Change { return decide(KindPause) }

// Resume makes logins count again.
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

// Revise changes the settings. Slots can only grow; users on the waiting list get
// the new ones at once, in order.
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

// Void stops a user's place in the campaign in force from counting. The grant
// passes to the next user in line.
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

// Reinstate makes a voided place count again. If the grant has passed to another
// user, the entry adds a slot, so that no user loses a grant.
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

// passedOn reports whether a reinstatement without an added slot would take the
// grant from another user.
func (f *Fold) passedOn(e Entry) bool {
	for p := f.limitAfter(e) + 1; p <= min(f.limit, f.Last()); p++ {
		if !f.Voided(p) {
			return true
		}
	}
	return false
}

// lastDecision is the last entry that is not an arrival.
func (f *Fold) lastDecision() Entry { return f.others[len(f.others)-1] }
