package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Difference is what Compare finds between the log and what the mirror's stream
// holds.
type Difference struct {
	Log     Place       // the log's last entry; {0, -1}: there is none
	Mirror  MirrorState // what the mirror says of itself
	Missing []Entry     // entries that only the mirror has, in order; Restore inserts them
	// Diverged are the first two entries that are in the same place and differ,
	// the log's first. Restore cannot help then.
	Diverged []Entry
	// Lost is what the mirror was once filled with and neither log nor stream
	// have any more; empty: nothing. Restore cannot help then either.
	Lost string
	// Broken is why the mirror's entries do not follow from the log's; nil: they do.
	Broken error
}

// Compare finds what the mirror has and the log lacks. It changes nothing. It
// fails with a *ForeignError when the mirror belongs to another database.
func (a *Admin) Compare(ctx context.Context) (Difference, error) {
	reader, err := load(ctx, a.cfg.Store)
	if err != nil {
		return Difference{}, err
	}
	var d Difference
	if d.Mirror, err = a.cfg.Mirror.State(ctx); err != nil {
		return Difference{}, err
	}
	if d.Mirror.Origin != "" && d.Mirror.Origin != reader.log.Origin {
		return Difference{}, &ForeignError{d.Mirror.Origin}
	}
	var stream []Entry
	for e, err := range a.cfg.Mirror.Entries(ctx) {
		if err != nil {
			return Difference{}, err
		}
		stream = append(stream, e)
	}
	if err := reader.readOn(ctx); err != nil { // else what was appended meanwhile looks lost
		return Difference{}, err
	}
	log := reader.log
	d.Log = log.place()
	for _, e := range stream {
		if e.Campaign < log.first {
			continue // it ended before the campaign in force, whose log is there
		}
		if f := log.fold(e.Campaign); f != nil && e.Seq <= f.seq() {
			if e.Hash != f.hashAt(e.Seq) {
				d.Diverged = []Entry{f.entriesFrom(e.Seq, 1)[0], e}
				return d, nil
			}
			continue
		}
		if err := log.apply(e); err != nil {
			d.Broken = err
			return d, nil
		}
		d.Missing = append(d.Missing, e)
	}
	d.Lost = log.ahead(d.Mirror)
	return d, nil
}

// restoreQuiet is for how long the mirror must have brought nothing new before a
// restore ends: a running replica that remembers more fills the mirror four times
// a second.
const restoreQuiet = 1500 * time.Millisecond

// Restore inserts the entries that only the mirror has, verbatim and in order,
// until no running replica brings the mirror anything more. inserted is called
// with how many there are so far. It fails with a *DivergedError when log and
// mirror differ; what was inserted until then stays.
func (a *Admin) Restore(ctx context.Context, inserted func(n int)) (int, error) {
	n := 0
	quietSince := a.cfg.Now()
	for {
		d, err := a.Compare(ctx)
		if err != nil {
			return n, err
		}
		if len(d.Diverged) > 0 || d.Broken != nil {
			return n, &DivergedError{d}
		}
		for i, e := range d.Missing {
			if i%100 == 0 {
				if err := a.cfg.Mirror.Seize(ctx, a.name); err != nil { // nobody appends meanwhile
					return n, err
				}
			}
			if err := a.insert(ctx, e); err != nil {
				return n, err
			}
			n++
			inserted(n)
			quietSince = a.cfg.Now()
		}
		if a.cfg.Now().Sub(quietSince) >= restoreQuiet {
			return n, a.cfg.Mirror.Release(ctx, a.name)
		}
		if err := a.cfg.Mirror.Seize(ctx, a.name); err != nil {
			return n, err
		}
		if !pause(ctx, tickEvery) {
			return n, ctx.Err()
		}
	}
}

// insert appends an entry of the mirror to the log.
func (a *Admin) insert(ctx context.Context, e Entry) error {
	err := a.cfg.Store.Append(ctx, e)
	if err == nil {
		return nil
	}
	held, readErr := a.cfg.Store.Entry(ctx, e.Campaign, e.Seq)
	if readErr == nil && held.Hash == e.Hash {
		return nil
	}
	return fmt.Errorf("insert %s: %w", e.DocumentID(), err)
}

// DivergedError reports that neither of log and mirror is a prefix of the other.
type DivergedError struct{ Difference Difference }

func (e *DivergedError) Error() string {
	if e.Difference.Broken != nil {
		return fmt.Sprintf("what redis holds does not follow from what mongodb holds: %v", e.Difference.Broken)
	}
	return fmt.Sprintf("mongodb and redis have different entries at %s: one of them must be given up", e.Difference.Diverged[0].DocumentID())
}

// AcceptLoss gives up what only the mirror has, as Compare showed it: accept
// entries say so in the log for ever. They begin epochs after that of the mirror,
// which is therefore filled anew, and replicas that remember what was given up
// forget it. It returns the entry of the campaign in force.
func (a *Admin) AcceptLoss(ctx context.Context, shown Difference) (Entry, error) {
	if _, err := a.Read(ctx); err != nil {
		return Entry{}, err
	}
	log := a.reader.log
	switch {
	case log.latest == nil:
		return Entry{}, fmt.Errorf("%w: the log is empty; restore a backup that has a campaign, or use `earlybird redis adopt`", ErrRefused)
	case log.place() != shown.Log:
		return Entry{}, errors.New("the log has changed since it was shown; look again")
	}
	lost := Lost{Place: shown.Mirror.Place, Hash: shown.Mirror.Hash, Last: shown.Mirror.Last}
	if lost.Before(shown.Mirror.Stream) {
		lost.Place = shown.Mirror.Stream
	}
	epoch := lost.Epoch
	for _, f := range log.folds() {
		epoch = max(epoch, f.epoch)
	}
	_ = a.cfg.Mirror.Seize(ctx, a.name) // nobody appends meanwhile
	// A campaign that is scheduled comes after the one in force, and first here: if
	// the second append fails, everything is as it was for who looks again.
	folds := log.folds()
	var accepted Entry
	for i := len(folds) - 1; i >= 0; i-- {
		var err error
		if accepted, err = a.accept(ctx, folds[i], epoch+int64(i)+1, lost); err != nil {
			return Entry{}, err
		}
	}
	return accepted, nil
}

func (a *Admin) accept(ctx context.Context, f *Fold, epoch int64, lost Lost) (Entry, error) {
	at, err := a.cfg.Store.Now(ctx)
	if err != nil {
		return Entry{}, err
	}
	e := f.draft(KindAccept, a.cfg.By, at)
	e.Epoch, e.Lost = epoch, &lost
	e = f.finish(e)
	err = a.cfg.Store.Append(ctx, e)
	if err == nil {
		return e, a.reader.add(e)
	}
	if a.reader.readOn(ctx) == nil {
		if e, ok := a.find(e.ID); ok {
			return e, nil
		}
	}
	return Entry{}, uncertain(!isTaken(err), err)
}

// Adopt empties a mirror that belongs to another database, as State showed it,
// so that it is filled from this one.
func (a *Admin) Adopt(ctx context.Context, shown MirrorState) error {
	cleared, err := a.cfg.Mirror.Clear(ctx, shown.Origin, shown.Place)
	if err == nil && !cleared {
		err = errors.New("redis has changed since it was shown; run the command again")
	}
	return err
}
