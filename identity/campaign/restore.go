package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Difference is what Compare finds between the log and the mirror.
type Difference struct {
	Log     Place       // the log's last entry; {0, -1}: there is none
	Mirror  MirrorState // the mirror's own state
	Missing []Entry     // entries that only the mirror has, in order; Restore inserts them
	// Diverged is the first pair of entries that differ at the same place: the
	// log's, then the mirror's. Restore cannot help then.
	Diverged []Entry
	// Lost describes entries that the mirror once held and that are now in neither
	// log nor stream; empty: none. Restore cannot help then either.
	Lost string
	// Broken is why the mirror's entries do not follow from the log's; nil: they do.
	Broken error
}

// Compare finds the entries that the mirror has and the log lacks. It only reads.
// It fails with a *ForeignError when the mirror belongs to another database.
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
	if err := reader.readOn(ctx); err != nil { // otherwise entries appended meanwhile would look lost
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

// restoreQuiet is how long the mirror must bring nothing new before a restore
// ends. A running replica that remembers more entries fills the mirror four times
// a second.
const restoreQuiet = 1500 * time.Millisecond

// Restore inserts the entries that only the mirror has, verbatim and in order,
// until running replicas add nothing more to the mirror. inserted is called
// with the number of entries so far. It fails with a *DivergedError when log and
// mirror differ; entries inserted before that stay.
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
				if err := a.cfg.Mirror.Seize(ctx, a.name); err != nil { // keeps replicas from appending
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

// DivergedError reports that neither the log nor the mirror is a prefix of the
// other.
type DivergedError struct{ Difference Difference }

func (e *DivergedError) Error() string {
	if e.Difference.Broken != nil {
		return fmt.Sprintf("the entries in redis do not continue the log in mongodb: %v", e.Difference.Broken)
	}
	return fmt.Sprintf("mongodb and redis have different entries at %s: one of them must be given up", e.Difference.Diverged[0].DocumentID())
}

// AcceptLoss gives up the entries that only the mirror has, as Compare showed
// them. An accept entry records this permanently in the log of each campaign. It
// begins an epoch later than the mirror's, so the mirror is filled again and
// replicas forget the lost entries. AcceptLoss returns the accept entry of the
// campaign in force.
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
	_ = a.cfg.Mirror.Seize(ctx, a.name) // keeps replicas from appending
	// A scheduled campaign comes before the one in force here: if the second append
	// fails, the command can simply be run again.
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

// Adopt empties a mirror that belongs to another database, if it still is as
// State showed it. Replicas then fill it from this database.
func (a *Admin) Adopt(ctx context.Context, shown MirrorState) error {
	cleared, err := a.cfg.Mirror.Clear(ctx, shown.Origin, shown.Place)
	if err == nil && !cleared {
		err = errors.New("redis has changed since it was shown; run the command again")
	}
	return err
}
