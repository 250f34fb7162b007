package campaigntest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Losable is a mirror that can be told to lose a part, which RunMirror needs of
// every implementation beside the contract.
type Losable interface {
	campaign.Mirror
	mirror.Standings
	// Lose removes the part, and reports whether there was such a part.
	Lose(part Part) bool
}

const (
	suiteOrigin = "ORIGIN-OF-THE-SUITE"
	firstEpoch  = 1 << 20
	firstBeat   = 1_800_000_000_000
)

// History is a log of entries for tests. They chain as campaign.Fold demands;
// whether it allows what they decide is up to the test.
type History struct {
	Origin   string
	Campaign int64
	Epoch    int64
	Entries  []campaign.Entry
	last     int64
}

// NewHistory is a campaign that has started and opened: sequence numbers 0 and 1.
func NewHistory(origin string, number, slots int64) *History {
	h := &History{Origin: origin, Campaign: number, Epoch: number * firstEpoch}
	h.Add(campaign.Entry{
		Kind: campaign.KindStart, Limit: slots, Origin: origin, Epoch: h.Epoch,
		Settings: &campaign.Settings{
			Name: fmt.Sprint("campaign ", number), Description: `with "quotes" and <tags>`, Discount: 30,
			Slots: slots, Waitlist: 10_000, StartsAt: time.UnixMilli(firstBeat).UTC(), Rehearsal: true,
		},
	})
	h.Add(campaign.Entry{Kind: campaign.KindOpen, Limit: slots})
	return h
}

// Add appends an entry, which gets what follows from those before it.
func (h *History) Add(e campaign.Entry) campaign.Entry {
	e.Campaign, e.Seq, e.At = h.Campaign, int64(len(h.Entries)), time.UnixMilli(firstBeat).UTC()
	e.ID = fmt.Sprint("id-", e.Seq)
	if e.Kind == campaign.KindArrive {
		e.First = h.last + 1
		h.last += int64(len(e.Users))
	} else {
		e.By = "suite"
	}
	e = chained(h.hash(e.Seq-1), e)
	h.Entries = append(h.Entries, e)
	return e
}

// Arrive appends an entry of n users, named <prefix>1 and so on.
func (h *History) Arrive(prefix string, n int) campaign.Entry {
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprint(prefix, i+1)
	}
	return h.Add(campaign.Entry{Kind: campaign.KindArrive, Users: users})
}

func (h *History) hash(seq int64) campaign.Hash {
	if seq < 0 {
		return campaign.Hash{}
	}
	return h.Entries[seq].Hash
}

// At is the place of the last entry.
func (h *History) At() campaign.Place {
	return campaign.Place{Epoch: h.Epoch, Seq: int64(len(h.Entries)) - 1}
}

// Batch is the batch of entries from one sequence number to before another, by a
// caller who knows all entries.
func (h *History) Batch(from, to int) campaign.Batch {
	return campaign.Batch{
		Origin: h.Origin, Epoch: h.Epoch, Campaign: h.Campaign, From: int64(from), Prev: h.hash(int64(from) - 1),
		Entries: slices.Clone(h.Entries[from:to]), Known: h.At().Seq,
	}
}

// All is the batch of all entries.
func (h *History) All() campaign.Batch { return h.Batch(0, len(h.Entries)) }

// Fork is a copy of the first n entries, which goes on in its own way.
func (h *History) Fork(n int) *History {
	f := &History{Origin: h.Origin, Campaign: h.Campaign, Epoch: h.Epoch, Entries: slices.Clone(h.Entries[:n])}
	for _, e := range f.Entries {
		f.last += int64(len(e.Users))
	}
	return f
}

// RunMirror holds a campaign.Mirror to its contract. newMirror returns an empty
// one, which must be Losable. Checked on the scripts in Redis by leaving out, one
// at a time, each condition that a test below names.
func RunMirror(t *testing.T, newMirror func(t *testing.T) campaign.Mirror) {
	for name, test := range map[string]func(*testing.T, *mirrorSuite){
		"empty": testEmpty, "no campaign": testNoCampaign, "filled in batches": testBatches, "prefixes": testPrefixes,
		"writes are repeatable": testRepeat, "missing": testMissing, "ahead": testAhead, "diverged": testDiverged, "newer": testNewer,
		"foreign": testForeign, "not intact": testNotIntact, "not intact only for who knows it all": testNotIntactBehind,
		"epoch of an accept": testAccept, "next campaign": testNextCampaign, "next campaign's end": testNextEnd,
		"voids": testVoids, "beat": testBeat, "turn": testTurn, "turns are fair": testTurnFair, "seize": testSeize, "release with a batch": testReleaseWithBatch,
		"clear": testClear, "entries": testManyEntries, "outage": testOutage, "many fillers": testFillers,
	} {
		t.Run(name, func(t *testing.T) {
			m, ok := newMirror(t).(Losable)
			if !ok {
				t.Fatal("the mirror cannot lose a part")
			}
			test(t, &mirrorSuite{t, m})
		})
	}
}

type mirrorSuite struct {
	t *testing.T
	m Losable
}

func (s *mirrorSuite) state() campaign.MirrorState {
	s.t.Helper()
	state, err := s.m.State(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

// apply applies a batch and expects an answer.
func (s *mirrorSuite) apply(b campaign.Batch, want campaign.Answer) campaign.MirrorState {
	s.t.Helper()
	state, err := s.m.Apply(s.t.Context(), b)
	if err != nil {
		s.t.Fatal(err)
	}
	if state.Answer != want {
		s.t.Fatalf("answer %q, want %q; the mirror says %+v", state.Answer, want, state)
	}
	return state
}

func (s *mirrorSuite) standing(user string) mirror.Standing {
	s.t.Helper()
	standing, err := s.m.Standing(s.t.Context(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	return standing
}

// holds expects the mirror to be the first n entries of the history, and no more.
func (s *mirrorSuite) holds(h *History, n int) {
	s.t.Helper()
	want := mirror.Summary{
		MirrorState: campaign.MirrorState{
			Origin: h.Origin, Place: campaign.Place{Epoch: h.Epoch, Seq: int64(n) - 1},
			Stream: campaign.Place{Epoch: h.Epoch, Seq: int64(n) - 1}, Hash: h.hash(int64(n) - 1), Intact: true,
		},
		Campaign: h.Campaign, Phase: campaign.PhaseNone,
	}
	positions, voided := map[string]int64{}, map[string]bool{}
	for _, e := range h.Entries[:n] {
		for i, user := range e.Users {
			positions[user], want.Last = e.First+int64(i), e.First+int64(i)
		}
		switch e.Kind {
		case campaign.KindStart:
			want.Phase = campaign.PhaseScheduled
		case campaign.KindOpen, campaign.KindResume:
			want.Phase = campaign.PhaseOpen
		case campaign.KindPause:
			want.Phase = campaign.PhasePaused
		case campaign.KindEnd:
			want.Phase = campaign.PhaseEnded
		case campaign.KindVoid, campaign.KindReinstate:
			voided[e.User] = e.Kind == campaign.KindVoid
		case campaign.KindArrive, campaign.KindChange, campaign.KindAccept:
		}
		if e.Kind != campaign.KindArrive {
			want.Limit = e.Limit
		}
		if e.Settings != nil {
			want.Settings = *e.Settings
		}
	}
	none := s.standing("nobody")
	got := none.Summary
	want.Beat, got.Answer = got.Beat, ""
	if got != want {
		s.t.Errorf("the mirror says\n %+v, want\n %+v", got, want)
	}
	if none.Position != 0 || none.Voided {
		s.t.Errorf("a user who never came has %+v", none)
	}
	for user, position := range positions {
		if got := s.standing(user); got.Position != position || got.Voided != voided[user] {
			s.t.Errorf("%s is at %d, voided %v; want %d, %v", user, got.Position, got.Voided, position, voided[user])
		}
	}
	var own []campaign.Entry
	for _, e := range s.entries() {
		if e.Campaign == h.Campaign {
			own = append(own, e)
		}
	}
	sameEntries(s.t, own, h.Entries[:n])
}

func (s *mirrorSuite) entries() []campaign.Entry {
	s.t.Helper()
	var entries []campaign.Entry
	for e, err := range s.m.Entries(s.t.Context()) {
		if err != nil {
			s.t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func sameEntries(t *testing.T, got, want []campaign.Entry) {
	t.Helper()
	text := func(entries []campaign.Entry) string {
		var b strings.Builder
		for _, e := range entries {
			line, err := e.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		return b.String()
	}
	if text(got) != text(want) {
		t.Errorf("the stream has\n%swant\n%s", text(got), text(want))
	}
}

func testEmpty(t *testing.T, s *mirrorSuite) {
	state := s.state()
	if want := (campaign.MirrorState{Place: campaign.Place{Seq: -1}, Stream: campaign.Place{Seq: -1}}); state != want {
		t.Errorf("an empty mirror says %+v, want %+v", state, want)
	}
	if e := s.entries(); len(e) > 0 {
		t.Errorf("an empty mirror has %d entries", len(e))
	}
}

// An empty log is a state like any other.
func testNoCampaign(t *testing.T, s *mirrorSuite) {
	beat := time.UnixMilli(firstBeat).UTC()
	want := campaign.MirrorState{
		Origin: suiteOrigin, Place: campaign.Place{Seq: -1}, Stream: campaign.Place{Seq: -1}, Intact: true, Beat: beat,
		Answer: campaign.AnswerOK,
	}
	for range 2 {
		if state := s.apply(campaign.Batch{Origin: suiteOrigin, Beat: beat, Known: -1}, campaign.AnswerOK); state != want {
			t.Errorf("%+v, want %+v", state, want)
		}
	}
	if got := s.standing("u"); got.Phase != campaign.PhaseNone || got.Campaign != 0 || got.Outcome().Status != campaign.StatusNone {
		t.Errorf("standing %+v", got)
	}
	h := NewHistory(suiteOrigin, 1, 10)
	s.apply(h.All(), campaign.AnswerOK)
	s.holds(h, 2)
}

// suiteHistory is a campaign with entries of every kind but accept.
func suiteHistory() *History {
	h := NewHistory(suiteOrigin, 1, 3)
	h.Arrive("a", 2)
	h.Arrive("b", 3)
	h.Add(campaign.Entry{Kind: campaign.KindVoid, Limit: 4, User: "a1"})
	h.Add(campaign.Entry{Kind: campaign.KindPause, Limit: 4})
	settings := *h.Entries[0].Settings
	settings.Slots, settings.Discount, settings.EndsAt = 5, 35, time.UnixMilli(firstBeat+1000).UTC()
	h.Add(campaign.Entry{Kind: campaign.KindChange, Limit: 6, Settings: &settings})
	h.Add(campaign.Entry{Kind: campaign.KindResume, Limit: 6})
	h.Arrive("c", 1)
	h.Add(campaign.Entry{Kind: campaign.KindReinstate, Limit: 6, User: "a1"})
	h.Add(campaign.Entry{Kind: campaign.KindEnd, Limit: 6})
	return h
}

func testBatches(t *testing.T, s *mirrorSuite) {
	h := NewHistory(suiteOrigin, 1, 700)
	for i := range 3 {
		h.Arrive(fmt.Sprint("u", i, "-"), 500)
	}
	s.apply(h.Batch(0, 3), campaign.AnswerOK)
	s.apply(h.Batch(3, 4), campaign.AnswerOK)
	state := s.apply(h.Batch(4, 5), campaign.AnswerOK)
	if state.Last != 1500 || state.Place != h.At() {
		t.Errorf("the mirror is at %s with %d places, want %s with 1500", state.Place, state.Last, h.At())
	}
	for user, want := range map[string]int64{"u0-1": 1, "u0-500": 500, "u1-1": 501, "u2-500": 1500} {
		if got := s.standing(user).Position; got != want {
			t.Errorf("%s is at %d, want %d", user, got, want)
		}
	}
}

// What the mirror says is right for every prefix of the log.
func testPrefixes(_ *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.apply(h.Batch(0, 2), campaign.AnswerOK)
	s.holds(h, 2)
	for n := 3; n <= len(h.Entries); n++ {
		s.apply(h.Batch(n-1, n), campaign.AnswerOK)
		s.holds(h, n)
	}
}

func testRepeat(_ *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	n := len(h.Entries)
	for _, b := range []campaign.Batch{h.Batch(0, 4), h.Batch(0, 4), h.Batch(2, 6), h.Batch(6, 6), h.Batch(0, n), h.All(), h.Batch(n, n)} {
		s.apply(b, campaign.AnswerOK)
	}
	s.holds(h, n)
}

func testMissing(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	if state := s.apply(h.Batch(2, 4), campaign.AnswerMissing); state.Place != (campaign.Place{Epoch: h.Epoch, Seq: -1}) {
		t.Errorf("an empty mirror asks for what follows %s", state.Place)
	}
	s.apply(h.Batch(0, 3), campaign.AnswerOK)
	if state := s.apply(h.Batch(4, 6), campaign.AnswerMissing); state.Seq != 2 || state.Epoch != h.Epoch {
		t.Errorf("the mirror asks for what follows %s, want seq 2", state.Place)
	}
	s.apply(h.Batch(6, 6), campaign.AnswerMissing)
	s.holds(h, 3)
}

func testAhead(_ *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.apply(h.All(), campaign.AnswerOK)
	for _, b := range []campaign.Batch{h.Batch(0, 3), h.Batch(2, 5), h.Batch(4, 4), h.Batch(0, 0)} {
		b.Beat = time.UnixMilli(firstBeat)
		if state := s.apply(b, campaign.AnswerAhead); !state.Beat.IsZero() {
			s.t.Error("a beat of somebody who does not know the whole log was taken")
		}
	}
	s.holds(h, len(h.Entries))
}

func testDiverged(_ *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	other := h.Fork(3)
	for range len(h.Entries) - 3 + 2 {
		other.Arrive(fmt.Sprint("other", len(other.Entries), "-"), 1)
	}
	s.apply(h.All(), campaign.AnswerOK)
	n := len(h.Entries)
	for _, b := range []campaign.Batch{
		other.All(), other.Batch(n, n+1), other.Batch(n, n), other.Batch(n-1, n+1), other.Batch(2, 5), other.Batch(5, 5), other.Batch(0, 4),
	} {
		s.apply(b, campaign.AnswerDiverged)
	}
	s.apply(other.Batch(0, 3), campaign.AnswerAhead) // they are one log so far
	s.holds(h, n)
}

// h10: whoever is a campaign behind does not touch the mirror.
func testNewer(_ *testing.T, s *mirrorSuite) {
	h, next := suiteHistory(), NewHistory(suiteOrigin, 2, 10)
	s.apply(next.All(), campaign.AnswerOK)
	s.apply(h.All(), campaign.AnswerNewer)
	s.apply(campaign.Batch{Origin: suiteOrigin, Known: -1}, campaign.AnswerNewer)
	s.holds(next, 2)
	s.m.Lose(PartSummary) // the stream tells as well
	s.apply(h.All(), campaign.AnswerNewer)
	sameEntries(s.t, s.entries(), next.Entries)
}

// h11: somebody else's mirror is never touched, not even one with a part missing.
func testForeign(t *testing.T, s *mirrorSuite) {
	theirs := NewHistory("ANOTHER-ORIGIN", 1, 10)
	theirs.Arrive("a", 2)
	s.apply(theirs.All(), campaign.AnswerOK)
	ours := NewHistory(suiteOrigin, 2, 10)
	b := ours.All()
	b.Beat = time.UnixMilli(firstBeat)
	for _, b := range []campaign.Batch{b, {Origin: suiteOrigin, Known: -1, Beat: b.Beat}} {
		if state := s.apply(b, campaign.AnswerForeign); state.Origin != theirs.Origin || !state.Beat.IsZero() {
			t.Errorf("it says %+v", state)
		}
	}
	s.holds(theirs, 3)
	s.m.Lose(PartSummary)
	s.apply(b, campaign.AnswerForeign)
	sameEntries(t, s.entries(), theirs.Entries)
}

// h12: a part that is missing is noticed, and the mirror begins anew.
func testNotIntact(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	n := 7 // somebody is voided
	for _, part := range Parts {
		s.apply(h.Batch(0, n), campaign.AnswerOK)
		if !s.m.Lose(part) {
			t.Fatalf("there is no %s to lose", part)
		}
		if s.state().Intact {
			t.Fatalf("without %s the mirror says that it is intact", part)
		}
		if state := s.apply(h.Batch(n, n), campaign.AnswerMissing); state.Seq != -1 || state.Epoch != h.Epoch {
			t.Errorf("without %s it asks for what follows %s", part, state.Place)
		}
		s.apply(h.Batch(0, 3), campaign.AnswerOK)
		s.holds(h, 3)
		s.apply(h.Batch(3, n), campaign.AnswerOK)
		s.holds(h, n)
	}
}

// m6: what is left of a mirror may be all that is left of the log. It gives way
// only to somebody who has everything that it shows.
func testNotIntactBehind(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	n := len(h.Entries)
	for _, part := range []Part{PartUser, PartSummary, PartStreamEnd, PartArrivals, PartStream} {
		s.apply(h.All(), campaign.AnswerOK)
		s.m.Lose(part)
		lost := s.state()
		b := h.Batch(0, n-1)
		b.Known = int64(n - 2) // a database that lacks the last entry
		state := s.apply(b, campaign.AnswerAhead)
		state.Answer = ""
		if state != lost || s.state() != lost {
			t.Errorf("without %s: it was %+v and is %+v", part, lost, state)
		}
		s.apply(h.Batch(0, 3), campaign.AnswerOK) // by somebody who knows it all
		s.apply(h.All(), campaign.AnswerOK)
		s.holds(h, n)
	}
}

// After an accept the log has another epoch, and the mirror is filled anew.
func testAccept(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.apply(h.Batch(0, 5), campaign.AnswerOK)
	after := h.Fork(3)
	after.Epoch++
	after.Add(campaign.Entry{
		Kind: campaign.KindAccept, Limit: 3, Epoch: after.Epoch,
		Lost: &campaign.Lost{Place: campaign.Place{Epoch: h.Epoch, Seq: 4}, Hash: h.Entries[4].Hash, Last: 5},
	})
	if state := s.apply(after.Batch(3, 4), campaign.AnswerMissing); state.Seq != -1 {
		t.Errorf("it asks for what follows %s", state.Place)
	}
	s.holds(h, 5)
	s.apply(after.Batch(0, 3), campaign.AnswerOK)
	s.holds(after, 3)
	s.apply(after.Batch(3, 4), campaign.AnswerOK)
	s.holds(after, 4)
	sameEntries(t, s.entries(), after.Entries)
	s.apply(h.All(), campaign.AnswerNewer)
}

// The mirror moves on to the next campaign, and keeps the log of the one before.
// A batch that does not begin at its start is refused: nobody is told `none`
// between two campaigns.
func testNextCampaign(t *testing.T, s *mirrorSuite) {
	h, next := suiteHistory(), NewHistory(suiteOrigin, 2, 10)
	next.Arrive("n", 2)
	s.apply(h.All(), campaign.AnswerOK)
	if state := s.apply(next.Batch(1, 3), campaign.AnswerMissing); state.Place != (campaign.Place{Epoch: next.Epoch, Seq: -1}) {
		t.Errorf("it asks for what follows %s", state.Place)
	}
	s.holds(h, len(h.Entries))
	s.apply(next.All(), campaign.AnswerOK)
	s.holds(next, 3)
	if got := s.standing("a2"); got.Position != 0 {
		t.Errorf("a winner of the campaign before holds %d of the next one", got.Position)
	}
	sameEntries(t, s.entries(), append(slices.Clone(h.Entries), next.Entries...))
}

// m9: the log of a campaign goes when the next one has ended.
func testNextEnd(t *testing.T, s *mirrorSuite) {
	h, next := suiteHistory(), NewHistory(suiteOrigin, 2, 10)
	s.apply(h.All(), campaign.AnswerOK)
	next.Arrive("n", 2)
	s.apply(next.All(), campaign.AnswerOK)
	next.Add(campaign.Entry{Kind: campaign.KindEnd, Limit: 10})
	s.apply(next.Batch(3, 4), campaign.AnswerOK)
	s.holds(next, 4)
	sameEntries(t, s.entries(), next.Entries)
}

func testVoids(t *testing.T, s *mirrorSuite) {
	h := NewHistory(suiteOrigin, 1, 2)
	h.Arrive("a", 4)
	h.Add(campaign.Entry{Kind: campaign.KindVoid, Limit: 3, User: "a2"})
	s.apply(h.All(), campaign.AnswerOK)
	for user, want := range map[string]campaign.Status{
		"a1": campaign.StatusGranted, "a2": campaign.StatusFull, "a3": campaign.StatusGranted, "a4": campaign.StatusFull,
	} {
		if got := s.standing(user).Outcome().Status; got != want {
			t.Errorf("%s is told %s, want %s", user, got, want)
		}
	}
	h.Add(campaign.Entry{Kind: campaign.KindReinstate, Limit: 3, User: "a2"})
	s.apply(h.Batch(4, 5), campaign.AnswerOK)
	if got, want := s.standing("a2").Outcome(), (mirror.Outcome{Status: campaign.StatusGranted, Campaign: 1, Rank: 2, Discount: 30}); got != want {
		t.Errorf("a2 is told %+v, want %+v", got, want)
	}
}

// h13: a beat only rises, and only where the batch is the end of the mirror. One
// that begins anew has none: the last one vouched for what is gone.
func testBeat(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	n := len(h.Entries)
	beat := func(b campaign.Batch, ms int64, answer campaign.Answer, want int64) {
		t.Helper()
		b.Beat = time.UnixMilli(ms)
		state := s.apply(b, answer)
		got := int64(0)
		if !state.Beat.IsZero() {
			got = state.Beat.UnixMilli()
		}
		if got != want {
			t.Errorf("beat %d, want %d", got, want)
		}
	}
	beat(h.Batch(0, n-1), firstBeat+5, campaign.AnswerOK, firstBeat+5)
	beat(h.Batch(n-1, n-1), firstBeat+4, campaign.AnswerOK, firstBeat+5)
	beat(h.Batch(n-1, n-1), firstBeat+6, campaign.AnswerOK, firstBeat+6)
	beat(h.Batch(n-2, n-2), firstBeat+9, campaign.AnswerAhead, firstBeat+6)
	beat(h.Batch(n, n), firstBeat+9, campaign.AnswerMissing, firstBeat+6)
	if state := s.apply(h.Batch(n-1, n), campaign.AnswerOK); state.Beat.UnixMilli() != firstBeat+6 {
		t.Errorf("a batch without a beat left %s", state.Beat)
	}
	s.m.Lose(PartUser)
	if state := s.apply(h.Batch(0, 3), campaign.AnswerOK); !state.Beat.IsZero() {
		t.Errorf("a mirror that is being filled anew has the beat %s", state.Beat)
	}
}

func (s *mirrorSuite) turn(me string, at campaign.Place, want campaign.TurnAnswer) {
	s.t.Helper()
	if got, err := s.m.Turn(s.t.Context(), me, at, 0); err != nil || got != want {
		s.t.Errorf("turn of %s: %q, %v; want %q", me, got, err, want)
	}
}

func (s *mirrorSuite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// m8: the turn is for those who have read everything that the mirror has.
func testTurn(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.turn("first", campaign.Place{Seq: -1}, campaign.TurnGiven)
	s.must(s.m.Release(t.Context(), "first"))
	s.apply(h.All(), campaign.AnswerOK)
	behind := campaign.Place{Epoch: h.Epoch, Seq: h.At().Seq - 1}
	s.turn("me", behind, campaign.TurnBehind)
	s.turn("me", campaign.Place{Seq: 1000}, campaign.TurnBehind)
	// What is given is not given to another. A busy machine may take 200 ms for it.
	for deadline := time.Now().Add(10 * time.Second); ; {
		began := time.Now()
		s.turn("me", h.At(), campaign.TurnGiven)
		s.turn("me", h.At(), campaign.TurnGiven)
		s.turn("you", behind, campaign.TurnBehind) // who waits keeps up
		answer, err := s.m.Turn(t.Context(), "you", campaign.Place{Epoch: h.Epoch, Seq: 1000}, 0)
		s.must(err)
		if answer == campaign.TurnNext {
			break
		}
		if time.Since(began) < 190*time.Millisecond || time.Now().After(deadline) {
			t.Fatalf("the turn that another has: %q", answer)
		}
		s.must(s.m.Release(t.Context(), "you"))
	}
	s.must(s.m.Release(t.Context(), "you"))
	s.must(s.m.Release(t.Context(), "me"))
	s.turn("you", campaign.Place{Epoch: h.Epoch + 1, Seq: 0}, campaign.TurnGiven)
	s.awaitTurn("me", h.At()) // after 200 ms it is free
}

// Who has waited longest is next, if they go on asking.
func testTurnFair(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.apply(h.All(), campaign.AnswerOK)
	ask := func(who string, waited time.Duration) campaign.TurnAnswer {
		t.Helper()
		answer, err := s.m.Turn(t.Context(), who, h.At(), waited)
		s.must(err)
		return answer
	}
	// A busy machine may take the 100 ms for it that the next one may be silent.
	for deadline := time.Now().Add(10 * time.Second); ; {
		s.must(s.m.Seize(t.Context(), "first"))
		began := time.Now()
		answers := []campaign.TurnAnswer{ask("short", 10*time.Millisecond), ask("long", 90*time.Millisecond), ask("short", 20*time.Millisecond)}
		s.must(s.m.Release(t.Context(), "first"))
		answers = append(answers, ask("first", 0), ask("short", 30*time.Millisecond), ask("long", 100*time.Millisecond))
		if fmt.Sprint(answers) == "[next next taken taken taken given]" {
			break
		}
		if time.Since(began) < 90*time.Millisecond || time.Now().After(deadline) {
			t.Fatalf("answers %v", answers)
		}
		s.must(s.m.Release(t.Context(), "short"))
	}
	s.must(s.m.Release(t.Context(), "long"))
	s.turn("short", h.At(), campaign.TurnGiven) // the one who had waited longest has had it
}

func (s *mirrorSuite) awaitTurn(me string, at campaign.Place) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		answer, err := s.m.Turn(s.t.Context(), me, at, 0)
		s.must(err)
		if answer == campaign.TurnGiven {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the turn is never free")
		}
		time.Sleep(time.Millisecond)
	}
}

func testSeize(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.apply(h.All(), campaign.AnswerOK)
	s.turn("you", h.At(), campaign.TurnGiven)
	began := time.Now()
	s.must(s.m.Seize(t.Context(), "me"))
	s.must(s.m.Release(t.Context(), "you"))
	s.awaitTurn("you", h.At())
	if held := time.Since(began); held < 900*time.Millisecond {
		t.Errorf("it was held for %s, want a second", held)
	}
}

func testReleaseWithBatch(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.must(s.m.Seize(t.Context(), "me"))
	b := h.Batch(0, 2)
	b.Release = "you"
	s.apply(b, campaign.AnswerOK)
	s.turn("you", h.At(), campaign.TurnNext)
	b.Release = "me"
	s.apply(b, campaign.AnswerOK)
	s.turn("you", h.At(), campaign.TurnGiven)
	s.must(s.m.Seize(t.Context(), "me"))
	missing := h.Batch(4, 5)
	missing.Release = "me"
	s.apply(missing, campaign.AnswerMissing)
	s.turn("you", h.At(), campaign.TurnGiven)
}

// m9: only what was shown is given up.
func testClear(t *testing.T, s *mirrorSuite) {
	h := suiteHistory()
	s.apply(h.All(), campaign.AnswerOK)
	cleared := func(origin string, at campaign.Place, want bool) {
		t.Helper()
		if got, err := s.m.Clear(t.Context(), origin, at); err != nil || got != want {
			t.Errorf("Clear(%s, %s): %v, %v; want %v", origin, at, got, err, want)
		}
	}
	s.must(s.m.Seize(t.Context(), "me"))
	cleared("ANOTHER", h.At(), false)
	cleared(suiteOrigin, campaign.Place{Epoch: h.Epoch, Seq: h.At().Seq - 1}, false)
	cleared(suiteOrigin, campaign.Place{Epoch: h.Epoch - 1, Seq: h.At().Seq}, false)
	s.holds(h, len(h.Entries))
	cleared(suiteOrigin, h.At(), true)
	s.turn("you", h.At(), campaign.TurnNext) // whoever restores keeps the turn
	testEmpty(t, s)
	other := NewHistory("ANOTHER", 1, 3)
	s.apply(other.All(), campaign.AnswerOK)
	s.holds(other, 2)
}

func testManyEntries(t *testing.T, s *mirrorSuite) {
	h := NewHistory(suiteOrigin, 1, 1000)
	for i := range 250 {
		h.Arrive(fmt.Sprint("u", i, "-"), 1)
	}
	s.apply(h.All(), campaign.AnswerOK)
	sameEntries(t, s.entries(), h.Entries)
	n := 0
	for _, err := range s.m.Entries(t.Context()) { // a loop may stop early
		if n++; n == 3 || err != nil {
			break
		}
	}
}

func testOutage(t *testing.T, s *mirrorSuite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := suiteHistory()
	_, stateErr := s.m.State(ctx)
	_, applyErr := s.m.Apply(ctx, h.All())
	_, turnErr := s.m.Turn(ctx, "me", h.At(), 0)
	_, clearErr := s.m.Clear(ctx, suiteOrigin, h.At())
	errs := map[string]error{
		"State": stateErr, "Apply": applyErr, "Turn": turnErr, "Clear": clearErr,
		"Seize": s.m.Seize(ctx, "me"), "Release": s.m.Release(ctx, "me"),
	}
	for _, err := range s.m.Entries(ctx) {
		errs["Entries"] = err
	}
	for call, err := range errs {
		if !unavailable.Is(err) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want an outage", call, err)
		}
	}
	if errs["Entries"] == nil {
		t.Error("Entries yields no error")
	}
}

// Any number of replicas fill the mirror at once, each as far as it has read.
func testFillers(t *testing.T, s *mirrorSuite) {
	h := NewHistory(suiteOrigin, 1, 100)
	for i := range 60 {
		h.Arrive(fmt.Sprint("u", i, "-"), 3)
	}
	n := len(h.Entries)
	fill := func(step int) error {
		from := 0
		for to := step; ; {
			b := h.Batch(from, min(max(from, to), n))
			state, err := s.m.Apply(t.Context(), b)
			if err != nil {
				return err
			}
			if state.Seq == int64(n-1) {
				return nil
			}
			if state.Answer != campaign.AnswerOK && state.Answer != campaign.AnswerMissing && state.Answer != campaign.AnswerAhead {
				return fmt.Errorf("answer %s", state.Answer)
			}
			from = int(state.Seq) + 1
			to = from + step
		}
	}
	results := make(chan error)
	for i := range 6 {
		go func() { results <- fill(2 + 3*i) }()
	}
	for range 6 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	s.holds(h, n)
}
