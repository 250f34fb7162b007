package campaign

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// reader follows the log in a store. Its log may be read under mu.
type reader struct {
	store Store

	last int // how many entries the last readOn found

	mu  sync.RWMutex
	log *Log
}

const (
	// lookUpAtOnce is the most entries that are looked up concurrently. Each lookup
	// is a round trip, and an idle replica is behind by everything that the others
	// have appended since its last tick.
	lookUpAtOnce = 16
	// scanAfter is how many entries are looked up one by one before the rest is read
	// in one scan.
	scanAfter = 200
	// scanTimeout bounds that scan. A server without an index for it may read the
	// whole collection; single lookups then continue instead.
	scanTimeout = time.Second
)

// load reads the logs of the campaign in force and of later ones. With a
// *DamageError the returned reader holds everything before the damaged entry.
func load(ctx context.Context, store Store) (*reader, error) {
	origin, err := store.Origin(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the database's origin: %w", err)
	}
	latest := int64(0)
	for {
		_, err := store.Entry(ctx, latest+1, 0)
		if errors.Is(err, ErrNoEntry) {
			break
		}
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) {
			return nil, fmt.Errorf("look for campaign %d: %w", latest+1, err)
		}
		latest++
	}
	r := &reader{store: store, log: &Log{Origin: origin, first: 1}}
	for first := latest; first > 0; first-- { // back to the last one that has opened
		r.log = &Log{Origin: origin, first: first}
		err = nil
		for number := first; number <= latest && err == nil; number++ {
			err = r.scan(ctx, number, 0)
		}
		var damage *DamageError
		if err != nil {
			err = fmt.Errorf("read the log of campaign %d: %w", first, err)
		}
		if r.log.InForce() != nil || err != nil && !errors.As(err, &damage) {
			break // grants of an earlier campaign are reported although a later one is damaged
		}
	}
	if err != nil {
		return r, err
	}
	return r, r.readOn(ctx)
}

// scan adds the entries of a campaign from a sequence number on.
func (r *reader) scan(ctx context.Context, campaign, from int64) error {
	for e, err := range r.store.Entries(ctx, campaign, from) {
		if err != nil {
			return err
		}
		if err := r.add(e); err != nil {
			return err
		}
	}
	return nil
}

// readOn adds the entries that follow in the store. It reads at least to the end
// that the log had when readOn began. Only one call may run at a time.
func (r *reader) readOn(ctx context.Context) error {
	end := map[entryKey]bool{} // keys at which this call found no entry
	// Each lookup is a round trip: look up as many entries as the last call found,
	// and one more for the end.
	found, sum, atOnce := 0, 0, min(r.last+1, lookUpAtOnce)
	for {
		first, known := r.nextKey(end)
		if !known {
			r.last = sum
			return nil
		}
		n, err := r.lookUp(ctx, first, atOnce)
		if errors.Is(err, ErrNoEntry) {
			end[entryKey{first.campaign, first.seq + int64(n)}] = true
		} else if err != nil {
			return err
		}
		sum += n
		if atOnce = r.last + 1 - sum; atOnce <= 0 {
			atOnce = 2 * n
		}
		atOnce = min(max(atOnce, 1), lookUpAtOnce)
		if found += n; found >= scanAfter {
			found = 0
			bounded, cancel := context.WithTimeout(ctx, scanTimeout)
			_ = r.scan(bounded, first.campaign, first.seq+int64(n)) // what it misses is looked up
			cancel()
		}
	}
}

// entryKey identifies an entry by campaign and sequence number.
type entryKey struct{ campaign, seq int64 }

// nextKey returns a key at which the log could grow, other than the keys in but,
// and whether there is one.
func (r *reader) nextKey(but map[entryKey]bool) (entryKey, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, f := range r.log.folds() {
		if next := (entryKey{f.campaign, f.seq() + 1}); !but[next] {
			return next, true
		}
	}
	if following, free := r.log.following(); free {
		next := entryKey{following, 0}
		return next, !but[next]
	}
	return entryKey{}, false
}

// lookUp adds up to n entries of a campaign, from first on. It returns how many it
// added, and why it stopped before n: ErrNoEntry at the end of the log.
func (r *reader) lookUp(ctx context.Context, first entryKey, n int) (int, error) {
	entries, errs := make([]Entry, n), make([]error, n)
	var all sync.WaitGroup
	for i := 1; i < n; i++ {
		all.Go(func() { entries[i], errs[i] = r.store.Entry(ctx, first.campaign, first.seq+int64(i)) })
	}
	entries[0], errs[0] = r.store.Entry(ctx, first.campaign, first.seq)
	all.Wait()
	for i, e := range entries {
		if errs[i] != nil {
			return i, errs[i]
		}
		if err := r.add(e); err != nil {
			return i, err
		}
	}
	return n, nil
}

// add adds an entry, unless the log has it already.
func (r *reader) add(e Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.log.fold(e.Campaign); f != nil && e.Seq <= f.seq() && e.Hash == f.hashAt(e.Seq) {
		return nil
	}
	return r.log.apply(e)
}

// holds reports whether the store still has the last entries of the log. A
// database that came back from an older backup may not.
func (r *reader) holds(ctx context.Context) (bool, error) {
	type id struct {
		campaign, seq int64
		hash          Hash
	}
	var last []id
	r.mu.RLock()
	for _, f := range r.log.folds() {
		last = append(last, id{f.campaign, f.seq(), f.Hash()})
	}
	r.mu.RUnlock()
	for _, want := range last {
		e, err := r.store.Entry(ctx, want.campaign, want.seq)
		var damage *DamageError
		switch {
		case errors.Is(err, ErrNoEntry), errors.As(err, &damage):
			return false, nil
		case err != nil:
			return false, err
		case e.Hash != want.hash:
			return false, nil
		}
	}
	return true, nil
}

// ahead describes how a mirror is ahead of the log or differs from it; "" means
// neither. Read the mirror before the log, or entries appended in between look
// lost.
func (l *Log) ahead(m MirrorState) string {
	if m.Origin == "" || m.Origin != l.Origin {
		return ""
	}
	at := Place{Seq: -1}
	if l.inForce != nil {
		at = l.inForce.At()
	}
	for _, p := range []Place{m.Place, m.Stream} {
		if at.Before(p) {
			return fmt.Sprintf("redis holds the log up to %s, mongodb only up to %s", p, at)
		}
	}
	if m.Epoch == at.Epoch && m.Seq >= 0 && m.Hash != l.inForce.hashAt(m.Seq) {
		return fmt.Sprintf("redis and mongodb have different entries at %s", m.Place)
	}
	return ""
}

// batch returns the batch that follows in a mirror which ends before from.
func (l *Log) batch(from int64) Batch {
	b := Batch{Origin: l.Origin}
	f := l.inForce
	if f == nil {
		return b
	}
	from = min(max(from, 0), f.seq()+1)
	b.Campaign, b.Epoch, b.From, b.Prev = f.campaign, f.epoch, from, f.hashAt(from-1)
	b.Entries, b.Known = f.entriesFrom(from, maxUsers), f.seq()
	return b
}

// notAvailable returns the error for a log that cannot be used now.
func notAvailable(reason string) error {
	return unavailable.New("campaign log", "read", errors.New(reason))
}

// fillMirror brings a mirror forward to the log, beginning after the sequence
// number from-1. batch returns what follows a sequence number, and whether the
// mirror is complete with it. It returns what the mirror holds in the end, or
// after most batches; its Answer is AnswerOK when the mirror is complete, or has
// taken all of them.
func fillMirror(apply func(Batch) (MirrorState, error), batch func(from int64) (Batch, bool), from int64, most int, release string) (MirrorState, error) {
	for anew, sent := 0, 1; ; sent++ {
		b, complete := batch(from)
		b.Release = release
		state, err := apply(b)
		if err != nil {
			return MirrorState{}, err
		}
		if sent == most {
			return state, nil
		}
		release = ""
		next := state.Seq + 1
		switch state.Answer {
		case AnswerOK:
			if complete {
				return state, nil
			}
		case AnswerMissing:
			if state.Epoch != b.Epoch {
				next = 0
			}
			if anew++; anew > 3 { // something else keeps emptying it
				return state, nil
			}
		default:
			return state, nil
		}
		from = next
	}
}
