package campaign

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// EventKind says what an Event is about: the kind of an entry other than
// KindArrive, or one of the kinds below.
type EventKind string

// What entries do to single users.
const (
	EventArrival  EventKind = "arrival"   // the user took the position
	EventGrant    EventKind = "grant"     // the user holds the discount from here on
	EventGrantEnd EventKind = "grant_end" // the user no longer does
)

// EventID is the place of an event in the history of all campaigns: its entry, and
// its number among the events of that entry, from 0.
type EventID struct {
	Place
	N int
}

// String returns "<epoch>:<seq>:<n>".
func (id EventID) String() string { return fmt.Sprintf("%s:%d", id.Place, id.N) }

func (id EventID) before(other EventID) bool {
	return id.Before(other.Place) || id.Place == other.Place && id.N < other.N
}

// ParseEventID reads what String returns, or a place, which is its entry's first
// event.
func ParseEventID(text string) (EventID, error) {
	var id EventID
	if place, err := ParsePlace(text); err == nil {
		return EventID{Place: place}, nil
	}
	if _, err := fmt.Sscanf(text, "%d:%d:%d", &id.Epoch, &id.Seq, &id.N); err != nil || id.String() != text || id.Epoch < 0 || id.Seq < 0 || id.N < 0 {
		return EventID{}, errors.New("must be epoch:seq:n, such as 1048576:17:0")
	}
	return id, nil
}

// Event is one thing that an entry of a log does. The grants that are in force are
// those with an EventGrant and no EventGrantEnd after it, of the last campaign that
// has a KindOpen; a KindAccept takes back what followed the place that it continues.
type Event struct {
	ID       EventID
	Kind     EventKind
	Entry    Entry  // that does it
	UserID   string // arrival, grant, grant_end, void, reinstate
	Position int64  // of the user, which is the rank of a grant
	Discount int64  // grant: percent
	// Rehearsal says that the campaign is a rehearsal: its grants give nobody a discount.
	Rehearsal bool
}

// step applies the next entry and returns what it does.
func (f *Fold) step(e Entry) ([]Event, error) {
	limit := f.limit
	if err := f.apply(e); err != nil {
		return nil, err
	}
	var all []Event
	add := func(kind EventKind, position int64) {
		ev := Event{ID: EventID{f.At(), len(all)}, Kind: kind, Entry: e, Rehearsal: f.settings.Rehearsal}
		if position > 0 {
			ev.UserID, ev.Position = f.users[position-1], position
		}
		if kind == EventGrant {
			ev.Discount = f.settings.DiscountOf(position)
		}
		all = append(all, ev)
	}
	if e.Kind == KindArrive {
		for position := e.First; position <= f.Last(); position++ {
			add(EventArrival, position)
			if _, granted := f.Grant(position); granted {
				add(EventGrant, position)
			}
		}
		return all, nil
	}
	position := f.position[e.User]
	add(EventKind(e.Kind), position)
	if e.Kind == KindVoid && position <= limit {
		add(EventGrantEnd, position)
	}
	if _, granted := f.Grant(position); e.Kind == KindReinstate && granted {
		add(EventGrant, position)
	}
	for next := limit + 1; next <= min(f.limit, f.Last()); next++ {
		if !f.Voided(next) && next != position {
			add(EventGrant, next)
		}
	}
	return all, nil
}

// EventReader reads the events of all campaigns in the order of their ids. A
// campaign's events come once no earlier campaign can have any more: when it opens,
// or, while none has opened before it, as soon as it is started.
type EventReader struct {
	store Store
	next  EventID // the first event that was not yielded yet
	told  int64   // the campaign of the last one that was; 0: none was yet
	fold  *Fold   // of the campaign that is read; nil: it has to be found
	lost  *Fold   // what was read before the database lost its end; nil: it did not
}

// Events returns a reader that begins with the first event at or after from.
func (a *Admin) Events(from EventID) *EventReader {
	return &EventReader{store: a.cfg.Store, next: from}
}

// ReadOn yields the events that follow those yielded before, up to the end that the
// logs have now. It ends with its first error: after an *unavailable.Error the next
// call goes on where this one ended, while a *DamageError stays. A database that
// came back from an older backup yields nothing before it has new entries: those
// that `campaign restore` puts back were yielded before.
func (r *EventReader) ReadOn(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := r.find(ctx); err != nil {
			yield(Event{}, err)
			return
		}
		for last := false; r.fold != nil; {
			for e, err := range r.entries(ctx) {
				var events []Event
				if err == nil {
					events, err = r.step(e)
				}
				if err != nil {
					yield(Event{}, err)
					return
				}
				for _, ev := range events {
					if ev.ID.before(r.next) && (r.told == 0 || e.Campaign <= r.told) {
						continue
					}
					r.next, r.told = EventID{ev.ID.Place, ev.ID.N + 1}, e.Campaign
					if !yield(ev, nil) {
						return
					}
				}
			}
			if last { // an entry that came just before the next campaign opened was read now
				r.fold, r.lost, last = newFold(r.fold.campaign+1), nil, false
				continue
			}
			var err error
			if last, err = r.over(ctx); err != nil {
				yield(Event{}, err)
				return
			}
			if !last {
				return
			}
		}
	}
}

// step applies an entry. It fails when the database was filled anew with other
// entries than those that were read.
func (r *EventReader) step(e Entry) ([]Event, error) {
	events, err := r.fold.step(e)
	if err == nil && r.lost != nil && r.lost.campaign == e.Campaign && r.fold.epoch <= r.lost.epoch &&
		e.Seq <= r.lost.seq() && e.Hash != r.lost.hashAt(e.Seq) {
		err = &DamageError{Entry: e.DocumentID(), Reason: "is not the entry that was read there before"}
	}
	return events, err
}

// find makes sure that the store still has what was read, and looks for the
// campaign to read. The fold stays nil while there is none.
//
// The next event is in the last campaign that began at or before it, or in the one
// that was in force before that: an accept entry may have given that one a later
// epoch. What was yielded before is passed over.
func (r *EventReader) find(ctx context.Context) error {
	if r.fold != nil && r.fold.seq() >= 0 {
		var damage *DamageError
		held, err := r.store.Entry(ctx, r.fold.campaign, r.fold.seq())
		switch {
		case err == nil && held.Hash == r.fold.Hash():
			return nil
		case err != nil && !errors.Is(err, ErrNoEntry) && !errors.As(err, &damage):
			return err
		}
		r.lost = r.fold
	}
	r.fold = nil
	last := int64(0)
	for {
		start, err := r.store.Entry(ctx, last+1, 0)
		if errors.Is(err, ErrNoEntry) || err == nil && last > 0 && r.next.Epoch < start.Epoch {
			break
		}
		if err != nil {
			return err
		}
		last++
	}
	for number := last - 1; number > 0; number-- {
		opened, err := r.opened(ctx, number)
		if err != nil {
			return err
		}
		if opened {
			last = number
			break
		}
	}
	if last > 0 {
		r.fold = newFold(last)
	}
	return nil
}

// entries yields the entries that follow the fold, which the caller adds to it.
func (r *EventReader) entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		number := r.fold.campaign
		for looked, scan := 0, r.fold.seq() < 0; ; looked++ {
			if scan || looked == scanAfter {
				for e, err := range r.store.Entries(ctx, number, r.fold.seq()+1) {
					if !yield(e, err) || err != nil {
						return
					}
				}
				looked, scan = 0, false
			}
			e, err := r.store.Entry(ctx, number, r.fold.seq()+1) // a scan may miss the last ones
			if errors.Is(err, ErrNoEntry) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// over reports whether the log of the campaign that is read cannot grow any more,
// and another one follows: a later campaign has opened, or this one never did.
func (r *EventReader) over(ctx context.Context) (bool, error) {
	for number := r.fold.campaign + 1; ; number++ {
		_, err := r.store.Entry(ctx, number, 0)
		if errors.Is(err, ErrNoEntry) {
			return false, nil
		}
		if err != nil || r.fold.seq() >= 0 && !r.fold.opened {
			return err == nil, err
		}
		if opened, err := r.opened(ctx, number); opened || err != nil {
			return opened, err
		}
	}
}

// opened reports whether a campaign has ever been open.
func (r *EventReader) opened(ctx context.Context, number int64) (bool, error) {
	for seq := int64(0); ; seq++ {
		e, err := r.store.Entry(ctx, number, seq)
		switch {
		case errors.Is(err, ErrNoEntry):
			return false, nil
		case err != nil:
			return false, err
		case e.Kind == KindOpen:
			return true, nil
		case e.Kind == KindEnd:
			return false, nil
		}
	}
}
