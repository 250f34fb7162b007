package campaign

import (
	"iter"
	"slices"
	"time"
)

// Decisions returns every entry but the arrivals, in order.
func (f *Fold) Decisions() []Entry { return slices.Clone(f.others) }

// Arrivals yields when users took places, and how many did, in order.
func (f *Fold) Arrivals() iter.Seq2[time.Time, int64] {
	return func(yield func(time.Time, int64) bool) {
		for _, a := range f.arrivals {
			if !yield(a.at, a.n) {
				return
			}
		}
	}
}

// OpenedAt is when logins began to count; zero: they have not yet.
func (f *Fold) OpenedAt() time.Time { return f.lastOf(KindOpen) }

// Since is when the present phase began; zero: the campaign is scheduled.
func (f *Fold) Since() time.Time { return f.lastOf(KindOpen, KindPause, KindResume, KindEnd) }

// FullAt is when the last of the slots was granted; zero: there are slots left.
func (f *Fold) FullAt() time.Time {
	last, _ := f.Grant(f.limit) // the position at the limit is never voided
	return last.GrantedAt
}

// lastOf is when the last decision of one of these kinds was made.
func (f *Fold) lastOf(kinds ...Kind) time.Time {
	for _, e := range slices.Backward(f.others) {
		if slices.Contains(kinds, e.Kind) {
			return e.At
		}
	}
	return time.Time{}
}

// Replay yields each entry, in order, with the state of the campaign right after
// it. The state is only good until the next entry.
func (f *Fold) Replay() iter.Seq2[Entry, *Fold] {
	return func(yield func(Entry, *Fold) bool) {
		after := newFold(f.campaign)
		for _, e := range f.Entries() {
			if after.apply(e) != nil || !yield(e, after) {
				return
			}
		}
	}
}
