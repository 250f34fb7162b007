package mirror

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// Logged is an entry of the mirror's stream and its place there.
type Logged struct {
	campaign.Place
	Entry campaign.Entry
}

// Grant is a grant as the services behind the gateway receive it.
type Grant struct {
	Campaign int64
	Rank     int64
	Discount int64 // percent
}

// Knowledge says what a View knows of a user's grant.
type Knowledge int

// What a View knows of a user's grant.
const (
	// Unknown: the View cannot tell now, and reading the Standing would not help.
	Unknown Knowledge = iota
	// Unread: the View has nothing on this user; read the Standing and call Learn.
	Unread
	// Granted: the user holds a grant.
	Granted
	// NotGranted: the user holds none.
	NotGranted
)

// ViewConfig configures a View.
type ViewConfig struct {
	// Fresh is how long after a replica last found the mirror complete the View may
	// still report that a user holds no grant. It should be longer than an election
	// of the database. 0: 15 s.
	Fresh time.Duration
	// Now must have a monotonic clock reading, as time.Now does. nil: time.Now.
	Now func() time.Time
}

const (
	// freshFor is the default of ViewConfig.Fresh.
	freshFor = 15 * time.Second
	// beatSlack is how much older than expected a beat may be. A replica raises it
	// within a second of the read that it vouches for, and a Tail looks four times
	// a second.
	beatSlack = 1500 * time.Millisecond
	// beatSettle is how long every beat must be too old, compared with the line,
	// before the View concludes that the database's clock was set back.
	beatSettle = 30 * time.Second
	// beatPause is the longest pause between such beats.
	beatPause = 5 * time.Second
	// beatDrift bounds how fast two clocks may drift apart: by 1/1000, 1 ms a second.
	beatDrift = 1000
)

// View holds the grants of the users that one edge watches. A Tail, or a test,
// feeds it from the mirror. It does no I/O.
//
// Two rules hold throughout. A grant once known is kept until the log ends it. The
// absence of a grant is reported only if a replica found the mirror complete
// recently. A View is safe for concurrent use; [View.Grant] takes no lock.
type View struct {
	cfg  ViewConfig
	base time.Time

	// For Grant. A user's knowledge counts only with the terms of its epoch.
	terms      atomic.Pointer[terms]
	freshUntil atomic.Int64 // nanoseconds since base
	live       atomic.Bool  // the mirror was usable when last read

	mu     sync.Mutex
	users  map[string]*User
	synced bool           // everything up to at was observed without a gap
	at     campaign.Place // of the last entry observed; within an epoch it decreases only when the mirror has fallen back
	fallen bool           // the mirror has fallen back and has not been found complete since
	origin string         // of the database that is followed; it never changes
	beats  beats
}

// terms are what a campaign grants, up to and including one entry of its log.
type terms struct {
	campaign.Place
	campaign, limit int64
	settings        campaign.Settings
}

func (s Summary) terms() *terms {
	return &terms{Place: s.Place, campaign: s.Campaign, limit: s.Limit, settings: s.Settings}
}

// User is a user watched by a View.
type User struct {
	id      string
	watches int                       // guarded by View.mu
	known   atomic.Pointer[knowledge] // nil: nothing; written with View.mu held
}

// knowledge is what a View knows about a user. Values are immutable.
type knowledge struct {
	campaign.Place       // of the entry from which on it holds
	position       int64 // 0: none
	voided         bool
	kept           *Grant // a grant from before the mirror fell back
	ahead          *terms // the terms read with this value, if it was read from beyond At
}

// NewView returns a View that knows nothing.
func NewView(cfg ViewConfig) *View {
	if cfg.Fresh == 0 {
		cfg.Fresh = freshFor
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &View{cfg: cfg, base: cfg.Now(), users: map[string]*User{}}
}

// Watch makes the View follow a user. Each call needs one Release. Call Watch
// before reading the user's Standing, so that no later entry is missed.
func (v *View) Watch(user string) *User {
	v.mu.Lock()
	defer v.mu.Unlock()
	u, ok := v.users[user]
	if !ok {
		u = &User{id: user}
		v.users[user] = u
	}
	u.watches++
	return u
}

// Release ends one Watch.
func (v *View) Release(u *User) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if u.watches--; u.watches == 0 {
		delete(v.users, u.id)
	}
}

// Watched is how many users are watched.
func (v *View) Watched() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.users)
}

// Grant returns what the View knows about the user's grant now. It never blocks.
func (v *View) Grant(u *User) (Grant, Knowledge) {
	t, k := v.terms.Load(), u.known.Load() // in this order: of two changes the user's is stored first
	switch {
	case k == nil && v.live.Load():
		return Grant{}, Unread
	case k == nil:
		return Grant{}, Unknown
	case k.kept != nil:
		return *k.kept, Granted
	case t == nil || t.Epoch != k.Epoch:
		return Grant{}, Unknown // it is being forgotten
	}
	if g, ok := t.grant(k); ok {
		return g, Granted
	}
	if !v.Fresh() {
		return Grant{}, Unknown
	}
	return Grant{}, NotGranted
}

func (t *terms) grant(k *knowledge) (Grant, bool) {
	if k.ahead != nil && t.Before(k.ahead.Place) {
		t = k.ahead
	}
	if k.voided || k.position < 1 || k.position > t.limit {
		return Grant{}, false
	}
	return Grant{Campaign: t.campaign, Rank: k.position, Discount: t.settings.DiscountOf(k.position)}, true
}

// Fresh reports whether a replica has found the mirror complete recently.
func (v *View) Fresh() bool { return int64(v.cfg.Now().Sub(v.base)) < v.freshUntil.Load() }

// Live reports whether the mirror could be used when it was last looked at.
func (v *View) Live() bool { return v.live.Load() }

// Lost says that the mirror could not be read.
func (v *View) Lost() { v.live.Store(false) }

// At returns the place of the last entry observed, from which to read on. false:
// there is no such place before the next Sync.
func (v *View) At() (campaign.Place, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at, v.synced
}

// ViewState is where a View stands.
type ViewState struct {
	campaign.Place       // of the last entry observed; {0, -1}: none
	Limit          int64 // the last position that is granted, as of that entry
	Fresh          bool  // it can tell who holds no grant
}

// State returns where the View stands.
func (v *View) State() ViewState {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.synced {
		return ViewState{Place: campaign.Place{Seq: -1}}
	}
	return ViewState{Place: v.at, Limit: v.terms.Load().limit, Fresh: v.Fresh()}
}

// Origin is the random id of the database that is followed; empty: none yet.
func (v *View) Origin() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.origin
}

// Learn takes in the standing that was read of a watched user, and returns the
// same as Grant then does. It discards a standing that the mirror gave when it was
// behind the View or not intact.
func (v *View) Learn(u *User, s Standing) (Grant, Knowledge) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.usable(s.Summary) || v.synced && s.Before(v.at) {
		g, k := v.Grant(u)
		if k == Unread {
			k = Unknown
		}
		return g, k
	}
	v.follow(s.Summary)
	// The stream may have brought something later about this user meanwhile.
	if k := u.known.Load(); k == nil || k.Before(s.Place) {
		news := knowledge{Place: s.Place, position: s.Position, voided: s.Voided}
		if v.at.Before(s.Place) {
			news.ahead = s.terms() // for this user alone: voids of other users may not have been read yet
		}
		u.known.Store(&news)
	}
	return v.Grant(u)
}

// Take takes in one read of the mirror: the entries after At, and the summary as
// it was right after them. If the summary ends before one of the entries, the
// mirror has fallen back; after a gap, it shows where the log continues. Take
// ignores entries that may come from another database's mirror.
func (v *View) Take(entries []Logged, s Summary) {
	if s.Origin != "" && s.Origin == v.Origin() {
		v.Observe(entries)
	}
	v.Sync(s)
}

// Sync takes in a summary of the mirror: where its log ends, and its beat. If the
// log ends before the last entry observed, the mirror has fallen back.
func (v *View) Sync(s Summary) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.usable(s) {
		v.live.Store(false)
		return
	}
	if v.synced && s.Before(v.at) {
		v.fallBack(s)
	} else {
		v.follow(s)
	}
	v.live.Store(true)
	v.beats.saw(s.Beat, v.cfg.Now().Sub(v.base), s.Place)
	v.freshen()
}

// Observe takes in the entries that follow At in the mirror's stream. If it finds
// a gap, it forgets everything and returns false; the next Sync then determines
// where the log continues.
func (v *View) Observe(entries []Logged) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.synced {
		return false
	}
	for _, e := range entries {
		switch {
		case !v.at.Before(e.Place):
			continue // a Learn or a Sync has already passed it
		case e.Epoch != v.at.Epoch || e.Seq != v.at.Seq+1:
			v.forget()
			return false
		}
		v.apply(e)
	}
	v.freshen()
	return true
}

func (v *View) apply(e Logged) {
	v.at = e.Place
	for i, user := range e.Entry.Users {
		if u, watched := v.users[user]; watched {
			k := knowledge{Place: e.Place, position: e.Entry.First + int64(i)}
			if old := u.known.Load(); old != nil && old.kept != nil && old.kept.Rank == k.position {
				k.kept = old.kept
			}
			v.know(u, k)
		}
	}
	switch e.Entry.Kind {
	case campaign.KindArrive:
		return
	case campaign.KindVoid, campaign.KindReinstate:
		if u, watched := v.users[e.Entry.User]; watched {
			if k := u.known.Load(); k != nil {
				v.know(u, knowledge{Place: e.Place, position: k.position, voided: e.Entry.Kind == campaign.KindVoid})
			}
		}
	}
	t := *v.terms.Load()
	t.Place, t.limit = e.Place, e.Entry.Limit
	if e.Entry.Settings != nil {
		t.settings = *e.Entry.Settings
	}
	v.terms.Store(&t)
}

// know stores what an entry says about a user, unless something later is known.
func (v *View) know(u *User, k knowledge) {
	if old := u.known.Load(); old == nil || old.Before(k.Place) {
		u.known.Store(&k)
	}
}

// usable reports whether a summary of the mirror can be used. One of another
// database's mirror never can: it says nothing about these users.
func (v *View) usable(s Summary) bool {
	return s.Intact && s.Origin != "" && (v.origin == "" || v.origin == s.Origin)
}

// follow takes in a summary that is not before at. A new epoch is another log:
// follow forgets everything and adopts the new terms. Within an epoch nothing
// changes here, since the entries bring the changes in order.
func (v *View) follow(s Summary) {
	v.origin = s.Origin
	if !v.synced || s.Epoch != v.at.Epoch {
		v.forget()
		v.at, v.synced = s.Place, true
		v.terms.Store(s.terms())
	}
}

func (v *View) forget() {
	v.synced = false
	v.freshUntil.Store(0)
	for _, u := range v.users {
		u.known.Store(nil)
	}
}

// fallBack handles a mirror that has lost the end of its log. Replicas fill it
// again within a second, from the same log unless the database has lost the same
// entries. So known grants are kept until a replica finds the mirror complete. Users
// without a grant become unread, since the entries that follow may give them one.
func (v *View) fallBack(s Summary) {
	for _, u := range v.users {
		t, k := v.terms.Load(), u.known.Load()
		switch {
		case k == nil:
		case k.kept != nil:
			u.known.Store(&knowledge{Place: s.Place, position: k.position, kept: k.kept})
		default:
			g, ok := t.grant(k)
			if !ok || t.Epoch != k.Epoch {
				u.known.Store(nil)
				continue
			}
			u.known.Store(&knowledge{Place: s.Place, position: k.position, kept: &g})
		}
	}
	v.at, v.fallen, v.beats.next = s.Place, true, nil
	v.terms.Store(s.terms())
	v.freshUntil.Store(0)
}

// freshen counts the last beat once the entries that it vouches for are in.
func (v *View) freshen() {
	seen, ok := v.beats.take(v.at)
	if !ok {
		return
	}
	v.freshUntil.Store(int64(seen + v.cfg.Fresh))
	if !v.fallen {
		return
	}
	v.fallen = false
	for _, u := range v.users {
		if k := u.known.Load(); k != nil && k.kept != nil {
			u.known.Store(nil) // the mirror is reliable again: read it
		}
	}
}

// beats distinguishes current beats of the mirror from old ones that arrive late,
// for example from a Redis replica that was cut off. To do so it compares the
// database's clock with the edge's own.
type beats struct {
	last time.Time      // the latest beat seen
	line time.Duration  // the largest (beat - own clock) since the epoch, less the drift
	set  bool           // line is
	at   time.Duration  // own clock at the last beat that counted
	next *countableBeat // counts once its place is reached

	// A run of beats, each of them too old.
	low struct {
		since, seen time.Duration // own clock at the first and the last of them
		line        time.Duration
	}
}

type countableBeat struct {
	campaign.Place
	seen time.Duration // own clock
}

// saw takes in a beat that was read at the edge's own time now, from a mirror that
// was complete up to place. The first beat only sets the line, and so does one far
// above it. One far below the line is ignored.
func (b *beats) saw(beat time.Time, now time.Duration, place campaign.Place) {
	if beat.IsZero() || !beat.After(b.last) {
		return
	}
	b.last = beat
	offset := time.Duration(beat.UnixNano()) - now
	switch {
	case !b.set:
		b.line, b.set, b.at = offset, true, now
		return
	case offset < b.line-beatSlack:
		low := &b.low
		if low.seen == 0 || now-low.seen > beatPause {
			low.since, low.line = now, offset
		}
		low.seen, low.line = now, max(low.line, offset)
		if now-low.since < beatSettle {
			return
		}
		b.line = low.line
	case offset > b.line+beatSlack: // the line came from an old beat
		b.line, b.at = offset, now
		return
	default:
		b.line = max(offset, b.line-min(now-b.at, freshFor)/beatDrift)
	}
	b.low.seen, b.at = 0, now
	b.next = &countableBeat{Place: place, seen: now}
}

// take returns when the last counting beat was seen. ok reports whether there is
// one that was not taken before and whose place at has reached.
func (b *beats) take(at campaign.Place) (seen time.Duration, ok bool) {
	if b.next == nil || at.Before(b.next.Place) {
		return 0, false
	}
	seen, b.next = b.next.seen, nil
	return seen, true
}
