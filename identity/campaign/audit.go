package campaign

import (
	"fmt"
	"iter"
	"slices"
	"time"
)

// Login is a successful login from the login audit.
type Login struct {
	UserID  string
	At      time.Time // by the clock of the process that answered
	Address string    // it came from; empty: not known, or forgotten with the account
}

// FindingKind is the subject of a Finding.
type FindingKind string

// The kinds of findings.
const (
	FindingDamage  FindingKind = "damage"  // an entry of the log cannot follow the previous ones
	FindingLost    FindingKind = "lost"    // the mirror has entries that the log lacks
	FindingDiffers FindingKind = "differs" // log and mirror differ at the same place
	FindingMirror  FindingKind = "mirror"  // the mirror is incomplete; a running replica fills it
	FindingEdge    FindingKind = "edge"    // an edge is behind, or cannot be asked
	FindingNoLogin FindingKind = "no login"
	FindingNoPlace FindingKind = "no place"
)

// Finding is one difference that an audit found.
type Finding struct {
	Kind   FindingKind
	UserID string // empty: the finding is not about one user
	Detail string
	// Breaks: the finding proves a broken promise. Any other may have a harmless
	// cause, which Detail names.
	Breaks bool
}

// Copy is the mirror as an audit compares it with the log. It was read before the
// log, Places excepted.
type Copy struct {
	MirrorState
	Settings Settings
	Limit    int64
	Stream   []Entry           // of this campaign, in order
	Places   map[string]CopyOf // by user id, of every user in the log; read after the log
	Changed  bool              // a decision was made while Places were read
}

// CopyOf is one user in the mirror.
type CopyOf struct {
	Position int64 // 0: none
	Voided   bool
}

// CompareMirror returns every difference between the log of the campaign in force
// and the mirror. Being behind is no difference, since the mirror is then a prefix
// of the log.
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
		find(FindingMirror, "", false, "redis is at %s, before a loss was accepted", c.Place)
		return found
	case c.Hash != f.hashAt(c.Seq):
		find(FindingDiffers, "", true, "redis and mongodb have different entries at %s", c.Place)
	case !c.Intact:
		find(FindingMirror, "", false, "redis has lost a part of its copy; a running identity service fills it again")
	case c.Seq < f.seq():
		find(FindingMirror, "", false, "redis lacks the last %d entries; a running identity service fills it", f.seq()-c.Seq)
	}
	if c.Seq == f.seq() && (c.Settings.Discount != f.settings.Discount || c.Limit != f.limit) {
		find(FindingDiffers, "", true, "redis has %d %% up to position %d, the log %d %% up to %d", c.Settings.Discount, c.Limit, f.settings.Discount, f.limit)
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
			find(FindingDiffers, user, true, "is disqualified in redis or in the log, and not in both")
		}
	}
	return found
}

// EdgeView is what an edge says of itself, read before the log.
type EdgeView struct {
	Name  string
	Place       // of the last entry that it has
	Limit int64 // the last position that it tells as granted
	Fresh bool  // it can tell who holds no grant
}

// CompareEdge returns every difference between the log of the campaign in force and
// what an edge has of it. To be behind for less than the beat's age is no
// difference.
func (f *Fold) CompareEdge(e EdgeView) []Finding {
	finding := func(kind FindingKind, breaks bool, format string, args ...any) []Finding {
		return []Finding{{Kind: kind, Detail: "the edge " + e.Name + " " + fmt.Sprintf(format, args...), Breaks: breaks}}
	}
	switch {
	case f.At().Before(e.Place):
		return finding(FindingLost, true, "has read the log up to %s, mongodb's ends at %s", e.Place, f.At())
	case e.Seq < 0:
		return finding(FindingEdge, false, "has not read the campaign in redis yet")
	case e.Epoch == f.epoch && e.Limit != f.limitAt(e.Seq):
		return finding(FindingDiffers, true, "tells positions up to %d as granted at %s, the log up to %d", e.Limit, e.Place, f.limitAt(e.Seq))
	case !e.Fresh:
		return finding(FindingEdge, false, "is at %s and tells grant=unknown of users without a grant: no identity service has confirmed redis to it of late", e.Place)
	case e.Epoch < f.epoch:
		return finding(FindingEdge, false, "is at %s, before the log of this campaign", e.Place)
	}
	return nil
}

// limitAt is the limit after the entry with this sequence number.
func (f *Fold) limitAt(seq int64) int64 {
	limit := int64(0)
	for _, e := range f.others {
		if e.Seq <= seq {
			limit = e.Limit
		}
	}
	return limit
}

// window is a period in which logins took places.
type window struct{ from, until time.Time }

// windows returns the periods, up to now, in which the campaign was open and had
// places left.
func (f *Fold) windows(now time.Time) []window {
	var all []window
	var opened time.Time
	for e, after := range f.Replay() {
		free := after.phase == PhaseOpen && after.Room() > 0
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

// Span is the period in which logins may have taken places, widened by MaxSkew. It
// is the part of the login audit that CompareLogins needs.
func (f *Fold) Span(now time.Time) (from, until time.Time) {
	all := f.windows(now)
	if len(all) == 0 {
		return now, now
	}
	return all[0].from.Add(-MaxSkew), all[len(all)-1].until.Add(MaxSkew)
}

// CompareLogins compares the login audit within Span with the users who hold
// places. None of its findings proves a broken promise: a login succeeds even if
// it could not be recorded, and a login that was answered with "retry" need not
// count. Logins within MaxSkew of either end of a window are ignored.
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
				"took position %d at %s, and no login before that is recorded; a record is missing if mongodb did not accept it or if it has expired",
				i+1, placed.Format(time.RFC3339))})
		}
	}
	for user, at := range missed {
		found = append(found, Finding{Kind: FindingNoPlace, UserID: user, Detail: fmt.Sprintf(
			"logged in at %s while there was room, and took no place; the login should have been answered with retry", at.Format(time.RFC3339))})
	}
	return found, nil
}
