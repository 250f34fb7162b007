package campaigntest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// Asked says what a client asked for.
type Asked int

// What clients ask for.
const (
	// AskedLogin is Replica.Place, or the header of identity's answer to a login.
	AskedLogin Asked = iota
	// AskedTag is what the gateway made of a login that has a place: mirror.Resolver,
	// or the header that a client sees.
	AskedTag
	// AskedPromotion is GET /promotion.
	AskedPromotion
	// AskedEdge is the grant that a service behind the gateway sees: mirror.View.
	AskedEdge
)

// What AskedEdge is answered. The third, that it is unknown, is no answer.
const (
	EdgeGranted    = "granted"
	EdgeNotGranted = "not granted"
)

// edgeStale is how old the log may be by which an edge says that there is no
// grant: as long as a beat counts, and what a beat may be late.
const edgeStale = 17 * time.Second

// Call is one question of a client and its answer.
type Call struct {
	User         string
	Asked        Asked
	Began, Ended time.Time // Ended is zero while there is no answer
	Status       string
	Place        campaign.Place // with pending; of AskedTag: what the login was given
	Rank         int64          // with granted

	forgotten bool // see Forget

	// How many entries were committed when the call began and when it ended, and
	// the entries whose commands had returned when it began: every answer is to
	// be right at some moment in between.
	lo, hi, returned int
}

// command is an entry that an operator decided.
type command struct {
	id           string
	began, ended time.Time // ended is zero while it has not returned
}

// Judge records what clients ask and hear, and what operators decide. It holds
// that against the committed log, by the most simple-minded reading of it: a
// judge must not share the program's mistakes. It is safe for concurrent use.
type Judge struct {
	// Committed returns the committed log, where it is known at every moment; see
	// Cluster.History. nil: what the log was when a call began and ended is
	// concluded from the calls. An entry was there before an answer that shows it,
	// and was not before all of its users had asked.
	Committed func() []campaign.Entry

	mu       sync.Mutex
	calls    []*Call
	commands []*command
}

// Begin notes that a user asks.
func (j *Judge) Begin(user string, asked Asked) *Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := &Call{User: user, Asked: asked, Began: time.Now()}
	if j.Committed != nil {
		log := j.Committed()
		c.lo, c.returned = len(log), j.returnedBefore(log, c.Began)
	}
	j.calls = append(j.calls, c)
	return c
}

// End notes the answer.
func (j *Judge) End(c *Call, status string, place campaign.Place, rank int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c.Ended, c.Status, c.Place, c.Rank = time.Now(), status, place, rank
	if j.Committed != nil {
		c.hi = len(j.Committed())
	}
}

// Place has the replica place the user, and records it.
func (j *Judge) Place(ctx context.Context, r *campaign.Replica, user string) campaign.Placement {
	c := j.Begin(user, AskedLogin)
	p := r.Place(ctx, user)
	j.End(c, string(p.Status), p.Place, 0)
	return p
}

// Promotion asks the replica for the user's grant, and records the answer.
func (j *Judge) Promotion(ctx context.Context, r *campaign.Replica, user string) error {
	c := j.Begin(user, AskedPromotion)
	p, err := r.Promotion(ctx, user)
	var none *campaign.NoGrantError
	switch {
	case err == nil:
		j.End(c, string(campaign.StatusGranted), campaign.Place{}, p.Rank)
	case errors.As(err, &none):
		j.End(c, none.Standing, campaign.Place{}, none.Position)
	}
	return err
}

// Commit has the admin commit a change, and records it.
func (j *Judge) Commit(ctx context.Context, a *campaign.Admin, change campaign.Change) (campaign.Committed, error) {
	began := time.Now()
	done, err := a.Commit(ctx, change)
	if err == nil {
		j.Decided(done.Entry, began)
	}
	return done, err
}

// Decided notes that a command has returned, which began at a time and appended
// the entry.
func (j *Judge) Decided(e campaign.Entry, began time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commands = append(j.commands, &command{id: e.ID, began: began, ended: time.Now()})
}

// Forget leaves the answers so far out of what is judged from now on, and with
// commands what operators have decided: for a database that lost entries, which
// were put back in another order, or given up.
func (j *Judge) Forget(commands bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.calls {
		c.forgotten = true
	}
	if commands {
		j.commands = nil
	}
}

// Calls are the calls so far.
func (j *Judge) Calls() []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	var calls []Call
	for _, c := range j.calls {
		calls = append(calls, *c)
	}
	return calls
}

// returnedBefore is how many entries the commands had decided that had returned
// at a time.
func (j *Judge) returnedBefore(log []campaign.Entry, at time.Time) int {
	n := 0
	for _, c := range j.commands {
		i := slices.IndexFunc(log, func(e campaign.Entry) bool { return e.ID == c.id })
		if c.ended.Before(at) {
			n = max(n, i+1)
		}
	}
	return n
}

// Faults holds everything against the log, and returns what is wrong.
func (j *Judge) Faults(log []campaign.Entry) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := newTrial(log)
	t.checkLog()
	if j.Committed == nil {
		j.conclude(t)
	}
	for _, c := range j.calls {
		if !c.Ended.IsZero() && !c.forgotten {
			t.checkAnswer(c)
		}
	}
	for _, c := range j.commands {
		if !slices.ContainsFunc(log, func(e campaign.Entry) bool { return e.ID == c.id }) {
			t.add("a command returned, and its entry %s is not in the log", c.id)
		}
	}
	t.checkOrder(j.calls)
	return t.faults
}

// conclude finds for every call between which entries of the log it lay.
func (j *Judge) conclude(t *trial) {
	n := len(t.log)
	asked := map[string]time.Time{} // when a user asked first
	for _, c := range j.calls {
		if first, known := asked[c.User]; c.Asked == AskedLogin && (!known || c.Began.Before(first)) {
			asked[c.User] = c.Began
		}
	}
	seq := map[string]int{} // by entry id
	for i, e := range t.log {
		seq[e.ID] = i
	}
	never := time.Unix(1<<40, 0)
	earliest := make([]time.Time, n) // it cannot have been there before
	latest := make([]time.Time, n)   // it was there then
	for i, e := range t.log {
		latest[i] = never
		for _, user := range e.Users {
			first, known := asked[user]
			if !known {
				t.add("entry %s places %s, who has not logged in", e.DocumentID(), user)
			}
			if earliest[i].Before(first) {
				earliest[i] = first
			}
		}
	}
	shown := func(i int, at time.Time) {
		if i >= 0 && at.Before(latest[i]) {
			latest[i] = at
		}
	}
	for _, c := range j.commands {
		if i, found := seq[c.id]; found {
			earliest[i] = c.began
			shown(i, c.ended)
		}
	}
	for _, c := range j.calls {
		if !c.Ended.IsZero() && c.Status == string(campaign.StatusPending) {
			shown(t.index(c.Place), c.Ended)
		}
	}
	for i := 1; i < n; i++ {
		if earliest[i].Before(earliest[i-1]) {
			earliest[i] = earliest[i-1]
		}
		if k := n - 1 - i; latest[k+1].Before(latest[k]) {
			latest[k] = latest[k+1]
		}
	}
	there := func(at time.Time) int { // surely, at a time
		i, _ := slices.BinarySearchFunc(latest, at, time.Time.Compare)
		return i
	}
	for _, c := range j.calls {
		began := c.Began
		if c.Asked == AskedEdge {
			began = began.Add(-edgeStale)
		}
		c.lo, c.returned = there(began), j.returnedBefore(t.log, c.Began)
		c.hi, _ = slices.BinarySearchFunc(earliest, c.Ended.Add(1), time.Time.Compare)
	}
}

// trial is a log, what follows from each of its prefixes, and what was found.
type trial struct {
	log       []campaign.Entry
	after     []*naive                   // by the number of entries
	positions map[int64]map[string]int64 // by campaign; of the whole log
	campaigns map[int64]int64            // by epoch
	places    map[campaign.Place]int     // index in log
	faults    []string
}

func newTrial(log []campaign.Entry) *trial {
	t := &trial{
		log: log, after: []*naive{newNaive()}, positions: map[int64]map[string]int64{},
		campaigns: map[int64]int64{}, places: map[campaign.Place]int{},
	}
	epoch := map[int64]int64{}
	for i, e := range log {
		t.after = append(t.after, t.after[i].next(e))
		if e.Epoch > 0 {
			epoch[e.Campaign], t.campaigns[e.Epoch] = e.Epoch, e.Campaign
		}
		t.places[campaign.Place{Epoch: epoch[e.Campaign], Seq: e.Seq}] = i
		if t.positions[e.Campaign] == nil {
			t.positions[e.Campaign] = map[string]int64{}
		}
		for k, user := range e.Users {
			if _, twice := t.positions[e.Campaign][user]; twice {
				t.add("entry %s gives %s a second place", e.DocumentID(), user)
				continue
			}
			t.positions[e.Campaign][user] = e.First + int64(k)
		}
	}
	return t
}

func (t *trial) add(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

// index is where in the log the entry of a place is; -1: nowhere.
func (t *trial) index(p campaign.Place) int {
	if i, found := t.places[p]; found {
		return i
	}
	return -1
}

// naive is the state of all campaigns after some entries. It shares no code with
// campaign.Fold.
type naive struct {
	campaign int64 // in force; 0: none
	phase    map[int64]campaign.Phase
	settings map[int64]campaign.Settings
	users    map[int64][]string        // by position - 1
	voided   map[int64]map[string]bool // users
	at       map[int64]time.Time       // of the last entry
	limits   map[int64]int64           // counted before
}

func newNaive() *naive {
	return &naive{
		phase: map[int64]campaign.Phase{}, settings: map[int64]campaign.Settings{}, users: map[int64][]string{},
		voided: map[int64]map[string]bool{}, at: map[int64]time.Time{}, limits: map[int64]int64{},
	}
}

// next is the state after one more entry.
func (s *naive) next(e campaign.Entry) *naive {
	n := e.Campaign
	after := &naive{
		campaign: s.campaign, phase: maps.Clone(s.phase), settings: maps.Clone(s.settings),
		users: maps.Clone(s.users), voided: maps.Clone(s.voided), at: maps.Clone(s.at), limits: map[int64]int64{},
	}
	after.at[n] = e.At
	if e.Settings != nil {
		after.settings[n] = *e.Settings
	}
	voids := func(void bool) {
		after.voided[n] = maps.Clone(after.voided[n])
		if after.voided[n][e.User] = true; !void {
			delete(after.voided[n], e.User)
		}
	}
	switch e.Kind {
	case campaign.KindStart:
		after.phase[n], after.voided[n] = campaign.PhaseScheduled, map[string]bool{}
	case campaign.KindOpen:
		after.phase[n], after.campaign = campaign.PhaseOpen, n
	case campaign.KindResume:
		after.phase[n] = campaign.PhaseOpen
	case campaign.KindPause:
		after.phase[n] = campaign.PhasePaused
	case campaign.KindEnd:
		after.phase[n] = campaign.PhaseEnded
	case campaign.KindArrive:
		after.users[n] = append(s.users[n], e.Users...) // states share what comes before
	case campaign.KindVoid:
		voids(true)
	case campaign.KindReinstate:
		voids(false)
	case campaign.KindAccept, campaign.KindChange:
	}
	return after
}

// limit counts, one position after the other, until all slots are given.
func (s *naive) limit(n int64) int64 {
	if limit, counted := s.limits[n]; counted {
		return limit
	}
	left, position := s.settings[n].Slots, int64(0)
	for left > 0 {
		position++
		if position > int64(len(s.users[n])) || !s.voided[n][s.users[n][position-1]] {
			left--
		}
	}
	s.limits[n] = position
	return position
}

// position is the user's position after k entries in the campaign in force; 0:
// none.
func (t *trial) position(k int, user string) int64 {
	s := t.after[k]
	position := t.positions[s.campaign][user]
	if position > int64(len(s.users[s.campaign])) {
		return 0
	}
	return position
}

// tells is the right answer to the user after k entries; the first reason that
// applies wins. A login with a place is answered with pending, granted or not.
func (t *trial) tells(k int, user string, asked Asked) string {
	s := t.after[k]
	n := s.campaign
	if n == 0 {
		return "none"
	}
	position, limit := t.position(k, user), s.limit(n)
	full := int64(len(s.users[n])) >= limit+s.settings[n].Waitlist
	switch {
	case asked == AskedLogin && position > 0:
		return "pending"
	case asked != AskedLogin && position > 0 && position <= limit && !s.voided[n][user]:
		return "granted"
	case asked == AskedEdge:
		return EdgeNotGranted
	case asked != AskedTag && s.voided[n][user]:
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

// checkLog: contiguous, times never fall, no epoch is used twice, logins count only while the
// campaign is open, positions without gaps and no more than there are, the limit
// as counted.
func (t *trial) checkLog() {
	next, epoch, epochs := map[int64]int64{}, map[int64]int64{}, map[int64]bool{}
	for i, e := range t.log {
		if e.Seq != next[e.Campaign] {
			t.add("entry %s follows seq %d", e.DocumentID(), next[e.Campaign]-1)
		}
		next[e.Campaign] = e.Seq + 1
		before, after := t.after[i], t.after[i+1]
		if e.Epoch > 0 {
			if epochs[e.Epoch] || e.Epoch <= epoch[e.Campaign] {
				t.add("epoch %d of %s was used before", e.Epoch, e.DocumentID())
			}
			epochs[e.Epoch], epoch[e.Campaign] = true, e.Epoch
		}
		if e.At.Before(before.at[e.Campaign]) {
			t.add("entry %s is older than the one before it", e.DocumentID())
		}
		if e.Kind != campaign.KindArrive {
			if limit := after.limit(e.Campaign); e.Limit != limit {
				t.add("entry %s has limit %d, counted %d", e.DocumentID(), e.Limit, limit)
			}
			continue
		}
		if before.phase[e.Campaign] != campaign.PhaseOpen {
			t.add("entry %s counts logins while the campaign is %s", e.DocumentID(), before.phase[e.Campaign])
		}
		if had := int64(len(before.users[e.Campaign])); e.First != had+1 {
			t.add("entry %s begins at position %d after %d", e.DocumentID(), e.First, had)
		}
		if had := int64(len(after.users[e.Campaign])); had > after.limit(e.Campaign)+after.settings[e.Campaign].Waitlist {
			t.add("entry %s gives position %d, beyond slots and waiting list", e.DocumentID(), had)
		}
	}
}

// checkAnswer: there is a moment between the beginning and the end of the call
// at which the answer was right. A grant may come from a log that is 300 ms
// old, but not against a command that had returned before the call. A grant at
// an edge that was cut off may be as old as it likes.
func (t *trial) checkAnswer(c *Call) {
	if c.Status == string(campaign.StatusRetry) || c.Asked == AskedTag && c.Status == string(campaign.StatusPending) {
		return
	}
	lo, granted := c.lo, c.Status == string(campaign.StatusGranted)
	switch {
	case c.Asked == AskedPromotion && granted:
		lo = min(lo, c.returned)
	case c.Asked == AskedTag:
		lo = t.index(c.Place) + 1
	case c.Asked == AskedEdge && granted:
		lo = 0
	}
	// A known place may come from a log as old as a grant may.
	pending := c.Asked == AskedLogin && c.Status == string(campaign.StatusPending)
	if pending {
		lo = min(lo, c.returned)
	}
	for k := lo; k <= c.hi; k++ {
		switch {
		case t.tells(k, c.User, c.Asked) != c.Status:
		case granted && t.position(k, c.User) != c.Rank:
		case !pending || t.holdsAt(c):
			return
		}
	}
	t.add("%s was told %s (rank %d, place %s) at %s..%s, which was true at no moment between entries %d and %d", c.User, c.Status, c.Rank, c.Place,
		c.Began.Format(time.TimeOnly+".000"), c.Ended.Format(time.TimeOnly+".000"), lo, c.hi)
}

// holdsAt reports whether the log had given the user a position, by the place of
// the answer, when the call ended.
func (t *trial) holdsAt(c *Call) bool {
	n, known := t.campaigns[c.Place.Epoch]
	position := t.positions[n][c.User]
	at := t.index(c.Place)
	return known && position > 0 && at >= 0 && at < c.hi && position <= int64(len(t.after[at+1].users[n]))
}

// checkOrder: who was answered before another began has the smaller position.
// Who asked more than once may have been counted by any of those calls.
func (t *trial) checkOrder(calls []*Call) {
	first := map[string]*Call{} // by user
	placed := map[int64][]*Call{}
	for _, c := range calls {
		if c.Asked != AskedLogin {
			continue
		}
		if f := first[c.User]; f == nil || c.Began.Before(f.Began) {
			first[c.User] = c
		}
		if c.Status == string(campaign.StatusPending) && !c.Ended.IsZero() && !c.forgotten {
			n := t.campaigns[c.Place.Epoch]
			placed[n] = append(placed[n], c)
		}
	}
	for n, all := range placed {
		slices.SortFunc(all, func(a, b *Call) int { return a.Ended.Compare(b.Ended) })
		last := make([]*Call, len(all)) // of those up to here, who has the greatest position
		for i, c := range all {
			if last[i] = c; i > 0 && t.positions[n][last[i-1].User] > t.positions[n][c.User] {
				last[i] = last[i-1]
			}
		}
		for _, c := range all {
			if first[c.User] != c {
				continue
			}
			i, _ := slices.BinarySearchFunc(all, c, func(a, b *Call) int { return a.Ended.Compare(b.Began) })
			if i == 0 {
				continue
			}
			before := last[i-1]
			if p, q := t.positions[n][before.User], t.positions[n][c.User]; p > q && q > 0 {
				t.add("%s was answered at %s before %s began at %s, and has position %d behind %d", before.User, before.Ended, c.User, c.Began, p, q)
			}
		}
	}
}

// InForce is the number of the last campaign in the log that has opened; 0: none.
func InForce(log []campaign.Entry) int64 {
	s := newNaive()
	for _, e := range log {
		s = s.next(e)
	}
	return s.campaign
}

// CheckMirror reports why a mirror is not what it must be: whatever happened to
// it, one that is intact is a prefix of the log of one campaign.
func CheckMirror(state campaign.MirrorState, log []campaign.Entry) error {
	if !state.Intact || state.Seq < 0 || slices.ContainsFunc(log, func(e campaign.Entry) bool {
		return e.Seq == state.Seq && e.Hash == state.Hash
	}) {
		return nil
	}
	return fmt.Errorf("the mirror is at %s with a hash that is not in the log", state.Place)
}

// CheckComplete reports why a mirror is not the whole log of the campaign in
// force, which it must be once nothing fails any more.
func CheckComplete(state campaign.MirrorState, log []campaign.Entry) error {
	n := InForce(log)
	if n == 0 {
		return nil
	}
	var last campaign.Entry
	for _, e := range log {
		if e.Campaign == n {
			last = e
		}
	}
	if !state.Intact || state.Hash != last.Hash || state.Seq != last.Seq {
		return fmt.Errorf("the mirror is at %s, intact %v; the log is at seq %d", state.Place, state.Intact, last.Seq)
	}
	return nil
}
