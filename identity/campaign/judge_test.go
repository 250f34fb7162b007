package campaign_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// naive is the state of all campaigns after some entries, computed in the most
// simple-minded way: the judge must not share the program's mistakes.
type naive struct {
	campaign int64 // in force; 0: none
	opened   map[int64]bool
	phase    map[int64]campaign.Phase
	settings map[int64]campaign.Settings
	users    map[int64][]string
	voided   map[int64]map[string]bool
}

func naiveAfter(entries []campaign.Entry) *naive {
	s := &naive{
		opened: map[int64]bool{}, phase: map[int64]campaign.Phase{}, settings: map[int64]campaign.Settings{},
		users: map[int64][]string{}, voided: map[int64]map[string]bool{},
	}
	for _, e := range entries {
		n := e.Campaign
		if e.Settings != nil {
			s.settings[n] = *e.Settings
		}
		switch e.Kind {
		case campaign.KindStart:
			s.phase[n], s.voided[n] = campaign.PhaseScheduled, map[string]bool{}
		case campaign.KindOpen:
			s.phase[n], s.campaign = campaign.PhaseOpen, n
		case campaign.KindResume:
			s.phase[n] = campaign.PhaseOpen
		case campaign.KindPause:
			s.phase[n] = campaign.PhasePaused
		case campaign.KindEnd:
			s.phase[n] = campaign.PhaseEnded
		case campaign.KindArrive:
			s.users[n] = append(s.users[n], e.Users...)
		case campaign.KindVoid:
			s.voided[n][e.User] = true
		case campaign.KindReinstate:
			delete(s.voided[n], e.User)
		case campaign.KindAccept, campaign.KindChange:
		}
	}
	return s
}

// limit counts, one position after the other, until all slots are given.
func (s *naive) limit(n int64) int64 {
	left, position := s.settings[n].Slots, int64(0)
	for left > 0 {
		position++
		if position > int64(len(s.users[n])) || !s.voided[n][s.users[n][position-1]] {
			left--
		}
	}
	return position
}

func (s *naive) position(user string) int64 {
	return int64(slices.Index(s.users[s.campaign], user)) + 1
}

// tells is what the user is told, in the order in which reasons count: by a
// login (granted stands for pending with a place) or by GET /promotion.
func (s *naive) tells(user string, promotion bool) string {
	n := s.campaign
	if n == 0 {
		return "none"
	}
	position, limit := s.position(user), s.limit(n)
	full := int64(len(s.users[n])) >= limit+s.settings[n].Waitlist
	switch {
	case !promotion && position > 0:
		return "pending"
	case promotion && position > 0 && position <= limit && !s.voided[n][user]:
		return "granted"
	case s.voided[n][user]:
		return "disqualified"
	case s.phase[n] == campaign.PhaseEnded:
		return "ended"
	case s.phase[n] == campaign.PhasePaused:
		return "paused"
	case position == 0 && !full:
		return "open"
	default:
		return "full"
	}
}

// check holds the committed log and every answer so far against the rules.
func (m *model) check() {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.cluster.History()
	m.checkLog(all)
	for _, t := range m.told {
		m.checkAnswer(all, t)
	}
	for _, c := range m.done {
		if !slices.ContainsFunc(all, func(e campaign.Entry) bool { return e.ID == c.entry.ID && e.Hash == c.entry.Hash }) {
			m.add("a command returned, and its entry %s %s is not in the log", c.entry.DocumentID(), c.entry.Kind)
		}
	}
	m.checkOrder(all)
	m.checkMirror(all)
}

func (m *model) add(format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

// checkLog: contiguous, times and epochs never fall, no user twice, slots never
// exceeded at any time, the limit as counted.
func (m *model) checkLog(all []campaign.Entry) {
	next, epoch, epochs := map[int64]int64{}, map[int64]int64{}, map[int64]int64{}
	for i, e := range all {
		if e.Seq != next[e.Campaign] {
			m.add("entry %s follows seq %d", e.DocumentID(), next[e.Campaign]-1)
		}
		next[e.Campaign] = e.Seq + 1
		if e.Epoch > 0 && (epochs[e.Epoch] != 0 || e.Epoch <= epoch[e.Campaign]) {
			m.add("epoch %d of %s was used before", e.Epoch, e.DocumentID())
		}
		if e.Epoch > 0 {
			epochs[e.Epoch], epoch[e.Campaign] = e.Campaign, e.Epoch
		}
		before, after := naiveAfter(all[:i]), naiveAfter(all[:i+1])
		if e.Kind != campaign.KindArrive {
			if limit := after.limit(e.Campaign); e.Limit != limit {
				m.add("entry %s has limit %d, counted %d", e.DocumentID(), e.Limit, limit)
			}
			continue
		}
		if before.phase[e.Campaign] != campaign.PhaseOpen {
			m.add("entry %s counts logins while the campaign is %s", e.DocumentID(), before.phase[e.Campaign])
		}
		for _, user := range e.Users {
			if slices.Contains(before.users[e.Campaign], user) {
				m.add("entry %s gives %s a second place", e.DocumentID(), user)
			}
		}
	}
}

// checkAnswer: there is a moment between the beginning and the end of the call
// at which the answer was right. A grant may be told by a log that is 300 ms
// old, but not against a command that had returned before the call.
func (m *model) checkAnswer(all []campaign.Entry, t told) {
	if t.status == string(campaign.StatusRetry) {
		return
	}
	lo := t.lo
	if t.recheck && t.status == "granted" {
		lo = min(lo, t.returned)
	}
	for k := lo; k <= t.hi; k++ {
		s := naiveAfter(all[:k])
		if s.tells(t.user, t.recheck) != t.status {
			continue
		}
		if t.status != "pending" || holdsAt(all[:t.hi], t) {
			return
		}
	}
	if t.status == "pending" && holdsAt(all[:t.hi], t) && t.ended.Sub(t.began) >= 0 {
		// placed by the log as it was up to 300 ms ago, in a campaign that has ended since
		if s := naiveAfter(all[:t.lo]); s.phase[s.campaign] != campaign.PhaseEnded {
			return
		}
	}
	m.add("%s was told %s (rank %d, place %s) at %s..%s, which was true at no moment between entries %d and %d", t.user, t.status, t.rank, t.place,
		t.began.Format(time.TimeOnly+".000"), t.ended.Format(time.TimeOnly+".000"), lo, t.hi)
}

// holdsAt reports whether the place that a login was told is where the log gives
// the user one.
func holdsAt(all []campaign.Entry, t told) bool {
	number := int64(0) // the campaign that the place's epoch is of
	for _, e := range all {
		if e.Epoch == t.place.Epoch {
			number = e.Campaign
		}
	}
	return slices.ContainsFunc(all, func(e campaign.Entry) bool {
		return e.Campaign == number && e.Seq <= t.place.Seq && slices.Contains(e.Users, t.user)
	})
}

// checkOrder: who was answered before another began has the smaller position.
func (m *model) checkOrder(all []campaign.Entry) {
	positions := map[int64]map[string]int64{} // by epoch
	epoch := map[int64]int64{}
	for _, e := range all {
		if e.Kind == campaign.KindStart {
			epoch[e.Campaign] = e.Epoch
			positions[e.Epoch] = map[string]int64{}
		}
		for i, user := range e.Users {
			positions[epoch[e.Campaign]][user] = e.First + int64(i)
		}
	}
	for _, first := range m.told {
		for _, second := range m.told {
			if first.status != "pending" || second.status != "pending" || first.place.Epoch != second.place.Epoch ||
				!first.ended.Before(second.began) || first.user == second.user {
				continue
			}
			p, q := positions[first.place.Epoch][first.user], positions[second.place.Epoch][second.user]
			if p > q && m.firstAnswer(second) {
				m.add("%s was answered at %s before %s began at %s, and has position %d behind %d", first.user, first.ended, second.user, second.began, p, q)
			}
		}
	}
}

// firstAnswer reports whether nothing placed the user before: no earlier call of
// theirs, which may have counted without saying so.
func (m *model) firstAnswer(t told) bool {
	return !slices.ContainsFunc(m.begun, func(other told) bool { return other.user == t.user && other.began.Before(t.began) })
}

// checkMirror: an intact mirror is a prefix of the log of one campaign.
func (m *model) checkMirror(all []campaign.Entry) {
	state := m.mirror.Peek()
	if !state.Intact || state.Seq < 0 {
		return
	}
	for _, e := range all {
		if e.Seq == state.Seq && e.Hash == state.Hash {
			return
		}
	}
	m.add("the mirror is at %s with a hash that is not in the log", state.Place)
}

// checkQuiet: once nothing fails any more, everybody knows the same: the
// replicas are ready, and the mirror is the log of the campaign in force.
func (m *model) checkQuiet() {
	all := m.cluster.History()
	s := naiveAfter(all)
	apart := false
	for i, p := range m.procs {
		if err := p.replica.Ready(); err != nil {
			if p.replica.Stats().Skew.Abs() > campaign.MaxSkew {
				apart = true
				continue
			}
			m.add("replica %d is not ready once all is quiet: %v", i, err)
		}
	}
	if apart {
		return
	}
	state := m.mirror.Peek()
	if s.campaign == 0 {
		return
	}
	var last campaign.Entry
	for _, e := range all {
		if e.Campaign == s.campaign {
			last = e
		}
	}
	if !state.Intact || state.Hash != last.Hash || state.Seq != last.Seq {
		m.add("once all is quiet the mirror is at %s, intact %v; the log is at seq %d", state.Place, state.Intact, last.Seq)
	}
	if age := time.Since(state.Beat); age > time.Second && !m.stepped {
		m.add("once all is quiet the beat is %s old", age)
	}
}
