package campaign

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"
)

// DamageError reports an entry that cannot follow the entries before it: its
// hash does not chain, its kind is unknown, or Earlybird did not write it.
// Nothing is appended after it, and logins do not count until an operator has
// repaired the log.
type DamageError struct {
	Entry  string // the entry's `_id`
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("campaign log entry %s: %s", e.Entry, e.Reason)
}

// Fold is the state of one campaign, computed from the entries of its log. It is
// a deterministic function of a prefix of the log. The zero value is not usable;
// use newFold. It is not safe for concurrent use.
type Fold struct {
	campaign int64
	origin   string
	epoch    int64
	settings Settings
	phase    Phase
	opened   bool
	limit    int64
	lastAt   time.Time

	hashes   []Hash    // by sequence number
	arrivals []arrival // the arrive entries, in order
	others   []Entry   // every other entry, in order
	users    []string  // by position - 1
	position map[string]int64
	voided   []int64  // positions, ascending
	growth   []growth // of limit, ascending
}

// arrival is an arrive entry without its users, which are in Fold.users.
type arrival struct {
	seq, first, n int64
	at            time.Time
	id            string
}

// growth records when positions up to limit became grants.
type growth struct {
	limit int64
	at    time.Time
}

func newFold(campaign int64) *Fold {
	return &Fold{campaign: campaign, phase: PhaseScheduled, position: map[string]int64{}}
}

// Campaign is the campaign's number.
func (f *Fold) Campaign() int64 { return f.campaign }

// Settings are the settings in force.
func (f *Fold) Settings() Settings { return f.settings }

// Phase is the campaign's present phase.
func (f *Fold) Phase() Phase { return f.phase }

// Opened reports whether the campaign has ever been open.
func (f *Fold) Opened() bool { return f.opened }

// Limit is the last position that is granted. It exceeds the slots by the
// voided positions up to it.
func (f *Fold) Limit() int64 { return f.limit }

// Last is the last position that was given.
func (f *Fold) Last() int64 { return int64(len(f.users)) }

// Room is how many more positions can be given.
func (f *Fold) Room() int64 { return max(0, f.limit+f.settings.Waitlist-f.Last()) }

// Granted is how many users hold the grant.
func (f *Fold) Granted() int64 {
	n := min(f.limit, f.Last())
	return n - int64(f.voidedUpTo(n))
}

// Waiting is how many users wait behind the limit.
func (f *Fold) Waiting() int64 {
	return max(0, f.Last()-f.limit) - int64(len(f.voided)-f.voidedUpTo(f.limit))
}

// Line yields the users who wait behind the limit, the next one first. Rank is
// their position, and GrantedAt when they took it.
func (f *Fold) Line() iter.Seq[Grant] {
	return func(yield func(Grant) bool) {
		for position := f.limit + 1; position <= f.Last(); position++ {
			next := Grant{Campaign: f.campaign, UserID: f.users[position-1], Rank: position, GrantedAt: f.Arrived(position)}
			if !f.Voided(position) && !yield(next) {
				return
			}
		}
	}
}

// At is the place of the last entry.
func (f *Fold) At() Place { return Place{Epoch: f.epoch, Seq: f.seq()} }

// Hash is the hash of the last entry.
func (f *Fold) Hash() Hash { return f.hashAt(f.seq()) }

func (f *Fold) seq() int64 { return int64(len(f.hashes)) - 1 }

// hashAt is the hash of the entry with this sequence number, and zero where
// there is none.
func (f *Fold) hashAt(seq int64) Hash {
	if seq < 0 || seq >= int64(len(f.hashes)) {
		return Hash{}
	}
	return f.hashes[seq]
}

// Position is the user's position in the order of first logins; 0: none.
func (f *Fold) Position(user string) int64 { return f.position[user] }

// Voided reports whether a position was voided.
func (f *Fold) Voided(position int64) bool {
	_, found := slices.BinarySearch(f.voided, position)
	return found
}

func (f *Fold) voidedUpTo(position int64) int {
	i, found := slices.BinarySearch(f.voided, position)
	if found {
		i++
	}
	return i
}

// Arrived is when the user at a position, which must have been given, took it.
func (f *Fold) Arrived(position int64) time.Time { return f.arrivalOf(position).at }

// Voids returns, in the order of positions, the void entry of each user whose place
// does not count now.
func (f *Fold) Voids() []Entry {
	latest := map[int64]Entry{}
	for _, e := range f.others {
		if e.Kind == KindVoid {
			latest[f.position[e.User]] = e
		}
	}
	all := make([]Entry, len(f.voided))
	for i, position := range f.voided {
		all[i] = latest[position]
	}
	return all
}

// Grant is the grant at a position, and whether there is one.
func (f *Fold) Grant(position int64) (Grant, bool) {
	if position < 1 || position > min(f.limit, f.Last()) || f.Voided(position) {
		return Grant{}, false
	}
	at := f.arrivalOf(position).at
	if g := f.growth[sort.Search(len(f.growth), func(i int) bool { return f.growth[i].limit >= position })]; g.at.After(at) {
		at = g.at
	}
	return Grant{Campaign: f.campaign, UserID: f.users[position-1], Rank: position, GrantedAt: at}, true
}

func (f *Fold) arrivalOf(position int64) arrival {
	return f.arrivals[sort.Search(len(f.arrivals), func(i int) bool { return f.arrivals[i].first > position })-1]
}

// placeOf returns the place that a reader must have reached to see the user's
// present standing: that of the user's own entry, or of the last decision if that
// is later.
func (f *Fold) placeOf(position int64) Place {
	return Place{Epoch: f.epoch, Seq: max(f.arrivalOf(position).seq, f.lastDecision().Seq)}
}

// standing is why a user at this position has no grant. The first reason that
// applies wins.
func (f *Fold) standing(position int64) string {
	switch {
	case f.Voided(position):
		return StandingDisqualified
	case f.phase == PhaseEnded:
		return string(StatusEnded)
	case f.phase == PhasePaused:
		return string(StatusPaused)
	case position == 0 && f.Room() > 0:
		return StandingOpen
	default:
		return string(StatusFull)
	}
}

// limitFor is the smallest position up to which slots positions are not voided.
func limitFor(slots int64, voided []int64) int64 {
	limit := slots
	for _, p := range voided {
		if p > limit {
			break
		}
		limit++
	}
	return limit
}

// entriesFrom returns the entries from a sequence number on until they hold n
// users, where any other entry counts as one user; the last entry may exceed n.
// So the first batch of a campaign includes its open.
func (f *Fold) entriesFrom(seq int64, n int) []Entry {
	var batch []Entry
	a := sort.Search(len(f.arrivals), func(i int) bool { return f.arrivals[i].seq >= seq })
	o := sort.Search(len(f.others), func(i int) bool { return f.others[i].Seq >= seq })
	for ; seq <= f.seq() && n > 0; seq++ {
		if o < len(f.others) && f.others[o].Seq == seq {
			batch = append(batch, f.others[o])
			o, n = o+1, n-1
			continue
		}
		v := f.arrivals[a]
		a, n = a+1, n-int(v.n)
		batch = append(batch, Entry{
			Campaign: f.campaign, Seq: seq, Kind: KindArrive, At: v.at, Hash: f.hashes[seq], ID: v.id,
			Users: f.users[v.first-1 : v.first-1+v.n], First: v.first,
		})
	}
	return batch
}

// Entries returns the whole log, in order.
func (f *Fold) Entries() []Entry { return f.entriesFrom(0, int(f.Last())+len(f.others)+1) }

// apply adds the next entry. If the entry cannot follow, it changes nothing and
// returns a *DamageError.
func (f *Fold) apply(e Entry) error {
	if err := f.follows(e); err != nil {
		return &DamageError{Entry: e.DocumentID(), Reason: err.Error()}
	}
	f.hashes = append(f.hashes, e.Hash)
	f.lastAt = e.At
	if e.Kind == KindArrive {
		f.arrivals = append(f.arrivals, arrival{seq: e.Seq, first: e.First, n: int64(len(e.Users)), at: e.At, id: e.ID})
		for _, user := range e.Users {
			f.users = append(f.users, user)
			f.position[user] = f.Last()
		}
		return nil
	}
	f.others = append(f.others, e)
	f.setLimit(e.Limit, e.At)
	if e.Settings != nil {
		f.settings = *e.Settings
	}
	switch e.Kind {
	case KindStart:
		f.origin, f.epoch = e.Origin, e.Epoch
	case KindOpen:
		f.phase, f.opened = PhaseOpen, true
	case KindPause:
		f.phase = PhasePaused
	case KindResume:
		f.phase = PhaseOpen
	case KindEnd:
		f.phase = PhaseEnded
	case KindVoid, KindReinstate:
		f.voided = f.voidsAfter(e)
	case KindAccept:
		f.epoch = e.Epoch
	case KindArrive, KindChange:
	}
	return nil
}

// setLimit moves the limit. It falls only when no grant is lost by it; the
// positions within the new limit keep the time at which they were granted.
func (f *Fold) setLimit(limit int64, at time.Time) {
	f.limit = limit
	i := sort.Search(len(f.growth), func(i int) bool { return f.growth[i].limit >= limit })
	if i == len(f.growth) {
		f.growth = append(f.growth, growth{limit, at})
		return
	}
	f.growth = f.growth[:i+1]
	f.growth[i].limit = limit
}

// voidsAfter are the voided positions after a void or reinstate entry.
func (f *Fold) voidsAfter(e Entry) []int64 {
	position := f.position[e.User]
	i, found := slices.BinarySearch(f.voided, position)
	switch {
	case e.Kind == KindVoid && !found:
		return slices.Insert(slices.Clone(f.voided), i, position)
	case e.Kind == KindReinstate && found:
		return slices.Delete(slices.Clone(f.voided), i, i+1)
	default:
		return f.voided
	}
}

// limitAfter is the limit that an entry other than arrive must carry.
func (f *Fold) limitAfter(e Entry) int64 {
	slots, voided := f.settings.Slots, f.voided
	if e.Settings != nil {
		slots = e.Settings.Slots
	}
	if e.Kind == KindVoid || e.Kind == KindReinstate {
		voided = f.voidsAfter(e)
	}
	return limitFor(slots, voided)
}

// follows reports why the entry cannot be the next one.
func (f *Fold) follows(e Entry) error {
	switch {
	case !e.Kind.known():
		return fmt.Errorf("has a kind that this version does not know, %q: a newer version wrote it", e.Kind)
	case e.Campaign != f.campaign || e.Seq != f.seq()+1:
		return fmt.Errorf("does not follow %s in sequence", EntryID(f.campaign, f.seq()))
	case !e.At.Equal(e.At.Truncate(time.Millisecond)):
		return errors.New("its time is not in whole milliseconds")
	case e.At.Before(f.lastAt):
		return errors.New("is older than the entry before it")
	case (e.Seq == 0) != (e.Kind == KindStart):
		return errors.New("a log must begin with a start entry, and have no other")
	case e.Hash != e.chained(f.hashAt(f.seq())):
		return errors.New("its hash does not follow from the entry before it")
	}
	if err := f.allows(e); err != nil {
		return err
	}
	if e.Kind != KindArrive && e.Limit != f.limitAfter(e) {
		return fmt.Errorf("has the limit %d, which should be %d", e.Limit, f.limitAfter(e))
	}
	return nil
}

// allows reports why the campaign does not allow the entry now. Its errors are
// shown to the operator who gave the command, and wrap ErrRefused.
func (f *Fold) allows(e Entry) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
	}
	ended := f.phase == PhaseEnded
	switch e.Kind {
	case KindStart:
		if e.Settings == nil || e.Origin == "" || e.Epoch < f.campaign*epochs {
			return refuse("a start needs settings, an origin and an epoch")
		}
		return e.Settings.Validate()
	case KindOpen:
		if f.opened || ended {
			return refuse("the campaign has already opened or ended")
		}
	case KindArrive:
		return f.allowsArrivals(e)
	case KindChange:
		if ended {
			return refuse("the campaign has ended")
		}
		return f.allowsSettings(e.Settings)
	case KindPause:
		if f.phase != PhaseOpen {
			return refuse("only an open campaign can be paused; this one is %s", f.phase)
		}
	case KindResume:
		if f.phase != PhasePaused {
			return refuse("only a paused campaign can be resumed; this one is %s", f.phase)
		}
	case KindEnd:
		if ended {
			return refuse("the campaign has already ended")
		}
	case KindVoid, KindReinstate:
		position := f.position[e.User]
		switch {
		case position == 0:
			return refuse("the user holds no place in campaign %d", f.campaign)
		case f.Voided(position) == (e.Kind == KindVoid):
			return refuse("the user's place is already in that state")
		}
		if e.Settings != nil {
			return f.allowsSettings(e.Settings)
		}
	case KindAccept:
		if e.Epoch <= f.epoch || e.Lost == nil {
			return refuse("an accept needs a later epoch and what it gives up")
		}
	}
	return nil
}

func (f *Fold) allowsArrivals(e Entry) error {
	switch {
	case f.phase != PhaseOpen:
		return fmt.Errorf("%w: the campaign is %s", ErrRefused, f.phase)
	case e.First != f.Last()+1:
		return fmt.Errorf("its positions begin at %d instead of %d", e.First, f.Last()+1)
	case len(e.Users) < 1 || len(e.Users) > maxUsers || int64(len(e.Users)) > f.Room():
		return fmt.Errorf("it has %d users, more than there are places for, or none", len(e.Users))
	}
	seen := make(map[string]bool, len(e.Users))
	for _, user := range e.Users {
		if user == "" || seen[user] || f.position[user] != 0 {
			return errors.New("it gives a user a second place")
		}
		seen[user] = true
	}
	return nil
}

func (f *Fold) allowsSettings(s *Settings) error {
	switch {
	case s == nil:
		return fmt.Errorf("%w: a change needs settings", ErrRefused)
	case s.Slots < f.settings.Slots:
		return &InvalidError{Field: "slots", Reason: fmt.Sprintf("can only grow: there are %d", f.settings.Slots)}
	case s.Rehearsal != f.settings.Rehearsal:
		return fmt.Errorf("%w: whether a campaign is a rehearsal is decided at its start", ErrRefused)
	}
	return s.Validate()
}
