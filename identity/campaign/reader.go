package campaign

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/outage"
)

// reader follows the log in a store. Its log may be read under mu.
type reader struct {
	store Store

	mu  sync.RWMutex
	log *Log
}

const (
	// scanAfter is how many entries are looked up one by one before the rest is
	// read in one scan.
	scanAfter = 200
	// scanTimeout bounds that scan: a server without an index for it may read the
	// whole collection, and looking up goes on instead.
	scanTimeout = time.Second
)

// load reads the log of the campaign in force and of those after it. On a
// *DamageError the reader has everything before the damaged entry.
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
		for number := first; number <= latest && err == nil; number++ {
			err = r.scan(ctx, number, 0)
		}
		if err != nil {
			return r, fmt.Errorf("read the log of campaign %d: %w", first, err)
		}
		if r.log.InForce() != nil {
			break
		}
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

// readOn adds what follows in the store, to the end of the log as it was when
// readOn began or later.
func (r *reader) readOn(ctx context.Context) error {
	for found := 1; ; found++ {
		e, err := r.nextEntry(ctx)
		if errors.Is(err, ErrNoEntry) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.add(e); err != nil {
			return err
		}
		if found%scanAfter == 0 {
			bounded, cancel := context.WithTimeout(ctx, scanTimeout)
			_ = r.scan(bounded, e.Campaign, e.Seq+1) // what it does not bring is looked up
			cancel()
		}
	}
}

// nextEntry looks up an entry that the log could grow by.
func (r *reader) nextEntry(ctx context.Context) (Entry, error) {
	type id struct{ campaign, seq int64 }
	var next []id
	r.mu.RLock()
	for _, f := range r.log.folds() {
		next = append(next, id{f.campaign, f.seq() + 1})
	}
	if following, free := r.log.following(); free {
		next = append(next, id{following, 0})
	}
	r.mu.RUnlock()
	for _, at := range next {
		if e, err := r.store.Entry(ctx, at.campaign, at.seq); !errors.Is(err, ErrNoEntry) {
			return e, err
		}
	}
	return Entry{}, ErrNoEntry
}

// add adds an entry, unless it is there.
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

// ahead reports what a mirror holds that the log lacks or has otherwise, and ""
// when there is no such thing. The mirror must have been read before the log was
// read on, or what was appended in between looks lost.
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

// batch is what brings a mirror forward that ends before a sequence number.
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

// unavailable reports a log that cannot be used now.
func unavailable(reason string) error {
	return outage.New("campaign log", "read", errors.New(reason))
}

// fillMirror brings a mirror forward to the log, beginning after the sequence
// number from-1. batch returns what follows a sequence number, and whether the
// mirror is complete with it. It returns what the mirror holds in the end; its
// Answer is AnswerOK when the mirror is complete.
func fillMirror(apply func(Batch) (MirrorState, error), batch func(from int64) (Batch, bool), from int64, release string) (MirrorState, error) {
	for anew := 0; ; {
		b, complete := batch(from)
		b.Release = release
		state, err := apply(b)
		if err != nil {
			return MirrorState{}, err
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
			if anew++; anew > 3 { // somebody else keeps emptying it
				return state, nil
			}
		default:
			return state, nil
		}
		from = next
	}
}
