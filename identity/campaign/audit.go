package campaign

import (
	"fmt"
	"iter"
	"slices"
	"time"
)

// Login is a successful login, as the login audit has it.
type Login struct {
	UserID string
	At     time.Time // by the clock of the process that answered
}

// FindingKind is what a Finding is about.
type FindingKind string

// The kinds of findings.
const (
	FindingDamage  FindingKind = "damage"  // an entry of the log cannot follow the ones before it
	FindingLost    FindingKind = "lost"    // the mirror has what the log lacks
	FindingDiffers FindingKind = "differs" // log and mirror say different things of the same place
	FindingMirror  FindingKind = "mirror"  // the mirror is not complete; it is filled by a running replica
	FindingNoLogin FindingKind = "no login"
	FindingNoPlace FindingKind = "no place"
)

// Finding is one difference that an audit found.
type Finding struct {
	Kind   FindingKind
	UserID string // empty when it is about no one user
	Detail string
	// Breaks says that a promise is broken. Other findings can have an innocent
	// reason, which Detail names.
	Breaks bool
}

// Copy is what an audit compares with a log: the mirror, as it was read before
// the log.
type Copy struct {
	MirrorState
	Settings Settings
	Limit    int64
	Stream   []Entry           // of this campaign, in order
	Places   map[string]CopyOf // by user id, of every user whom the log has; read after the log
	Changed  bool              // something was decided while Places were read
}

// CopyOf is what the mirror says of one user.
type CopyOf struct {
	Position int64 // 0: none
	Voided   bool
}

// CompareMirror names every difference between the log of the campaign in force
// and the mirror. A mirror that is behind is a prefix of the log and differs in
// nothing.
func (f *Fold) CompareMirror(c Copy) []Finding {
	var found []Finding
	find := func(kind FindingKind, user string, breaks bool, format string, args ...any) {
		found = append(found, Finding{Kind: kind, UserID: user, Detail: fmt.Sprintf(format, args...), Breaks: breaks})
	}
	switch {
	case c.Origin == "":
		find(FindingMirror, "", false, "redis holds nothing; a running identity service fills it")
		return found
	case c.Origin != f.origin:
		find(FindingMirror, "", false, "redis belongs to another database, origin %s", c.Origin)
		return found
	case c.Epoch < f.epoch && len(c.Stream) == 0:
		find(FindingMirror, "", false, "redis holds an earlier log, up to %s", c.Place)
		return found
	}
	for _, e := range c.Stream {
		switch {
		case e.Seq > f.seq():
			find(FindingLost, "", true, "redis has the entry %s (%s), which mongodb lacks", e.DocumentID(), e.Kind)
		case e.Hash != f.hashAt(e.Seq) || e.Hash != e.chained(f.hashAt(e.Seq-1)):
			find(FindingDiffers, "", true, "the entry %s in redis is not the one in mongodb", e.DocumentID())
		}
	}
	switch {
	case c.Epoch > f.epoch || c.Epoch == f.epoch && c.Seq > f.seq():
		if len(found) == 0 {
			find(FindingLost, "", true, "redis was filled up to %s, mongodb's log ends at %s", c.Place, f.At())
		}
		return found
	case c.Epoch < f.epoch:
		find(FindingMirror, "", false, "redis is of before a loss was accepted, at %s", c.Place)
		return found
	case c.Hash != f.hashAt(c.Seq):
		find(FindingDiffers, "", true, "redis and mongodb have different entries at %s", c.Place)
	case !c.Intact:
		find(FindingMirror, "", false, "a part of what redis holds is missing; a running identity service fills it anew")
	case c.Seq < f.seq():
		find(FindingMirror, "", false, "redis lacks the last %d entries; a running identity service fills it", f.seq()-c.Seq)
	}
	if c.Seq == f.seq() && (c.Settings.Discount != f.settings.Discount || c.Limit != f.limit) {
		find(FindingDiffers, "", true, "redis says %d %% up to position %d, the log %d %% up to %d", c.Settings.Discount, c.Limit, f.settings.Discount, f.limit)
	}
	for i, user := range f.users {
		position := int64(i) + 1
		has := c.Places[user]
		switch {
		case has.Position != 0 && has.Position != position:
			find(FindingDiffers, user, true, "has position %d in redis and %d in the log", has.Position, position)
		case has.Position == 0 && position <= c.Last && c.Intact:
			find(FindingDiffers, user, true, "has position %d in the log and none in redis", position)
		case has.Position != 0 && has.Voided != f.Voided(position) && c.Seq == f.seq() && !c.Changed:
			find(FindingDiffers, user, true, "is disqualified in one of redis and the log alone")
		}
	}
	return found
}

// window is a time in which logins took places.
type window struct{ from, until time.Time }

// windows are the times in which the campaign was open and had room, up to now.
func (f *Fold) windows(now time.Time) []window {
	var all []window
	var opened time.Time
	replay := newFold(f.campaign)
	for _, e := range f.Entries() {
		if replay.apply(e) != nil {
			break
		}
		free := replay.phase == PhaseOpen && replay.Room() > 0
		switch {
		case free && opened.IsZero():
			opened = e.At
		case !free && !opened.IsZero():
			all = append(all, window{opened, e.At})
			opened = time.Time{}
		}
	}
	if !opened.IsZero() {
		all = append(all, window{opened, now})
	}
	return all
}

// Span is the time in which logins may have taken places, clocks allowed for:
// what of the login audit an audit needs.
func (f *Fold) Span(now time.Time) (from, until time.Time) {
	all := f.windows(now)
	if len(all) == 0 {
		return now, now
	}
	return all[0].from.Add(-MaxSkew), all[len(all)-1].until.Add(MaxSkew)
}

// CompareLogins compares the login audit of Span with who holds a place. None
// of its findings proves a broken promise: an attempt that could not be recorded
// does not fail a login, and a login that was answered with "retry" need not
// count. Logins at whose time the clocks leave a doubt are left out.
func (f *Fold) CompareLogins(logins iter.Seq2[Login, error], now time.Time) ([]Finding, error) {
	all := f.windows(now)
	inside := func(at time.Time) bool {
		return slices.ContainsFunc(all, func(w window) bool {
			return at.After(w.from.Add(MaxSkew)) && at.Before(w.until.Add(-MaxSkew))
		})
	}
	first := map[string]time.Time{} // by user: the first login
	missed := map[string]time.Time{}
	for l, err := range logins {
		if err != nil {
			return nil, err
		}
		if at, known := first[l.UserID]; !known || l.At.Before(at) {
			first[l.UserID] = l.At
		}
		if f.position[l.UserID] == 0 && inside(l.At) {
			if at, known := missed[l.UserID]; !known || l.At.Before(at) {
				missed[l.UserID] = l.At
			}
		}
	}
	var found []Finding
	for i, user := range f.users {
		placed := f.arrivalOf(int64(i) + 1).at
		if at, known := first[user]; !known || at.After(placed.Add(MaxSkew)) {
			found = append(found, Finding{Kind: FindingNoLogin, UserID: user, Detail: fmt.Sprintf(
				"took position %d at %s, and no login before that is recorded; a record can be missing when mongodb did not take it or it has expired",
				i+1, placed.Format(time.RFC3339))})
		}
	}
	for user, at := range missed {
		found = append(found, Finding{Kind: FindingNoPlace, UserID: user, Detail: fmt.Sprintf(
			"logged in at %s while there was room, and took no place; the login should have been answered with retry", at.Format(time.RFC3339))})
	}
	return found, nil
}
