package campaigntest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Part is a part of a mirror that can be lost.
type Part string

// The parts of a mirror.
const (
	PartUser      Part = "a user"           // one of the arrivals
	PartVoid      Part = "a void"           // one of the voided
	PartStreamEnd Part = "the stream's end" // its last entry
	PartSummary   Part = "the summary"      // the hash
	PartArrivals  Part = "the arrivals"
	PartStream    Part = "the stream"
)

// Parts are all of them.
var Parts = []Part{PartUser, PartVoid, PartStreamEnd, PartSummary, PartArrivals, PartStream}

// Mirror is a campaign.Mirror in memory that can fail in every way that Redis
// can. It does no I/O and tells time by time.Now, so that it works inside a
// testing/synctest bubble. It is safe for concurrent use.
type Mirror struct {
	mu     sync.Mutex
	held   held
	faults MirrorFaults
}

// held is what a Redis holds.
type held struct {
	summary    mirror.Summary // but for Stream, Intact and Answer
	there      bool           // the summary
	voids      int            // as the summary counts them
	arrivals   map[string]int64
	voided     map[string]bool
	stream     []mirror.Logged
	turn       string
	turnEnds   time.Time
	next       string // who gets it next
	nextWaited time.Duration
	nextEnds   time.Time
	newestEver campaign.Place // in this stream, also when it is there no more
}

// NewMirror returns an empty Mirror.
func NewMirror() *Mirror { return &Mirror{held: emptyHeld()} }

func emptyHeld() held {
	return held{
		summary:  mirror.Summary{MirrorState: campaign.MirrorState{Place: campaign.Place{Seq: -1}}, Phase: campaign.PhaseNone},
		arrivals: map[string]int64{}, voided: map[string]bool{},
	}
}

func (h *held) clone() held {
	c := *h
	c.arrivals, c.voided, c.stream = maps.Clone(h.arrivals), maps.Clone(h.voided), slices.Clone(h.stream)
	return c
}

// MirrorFaults is what goes wrong with every call. The zero value is nothing.
type MirrorFaults struct {
	Fail  error         // the call does nothing, and fails with an outage that wraps this
	Lose  error         // the call does what it should, and fails with such an outage
	Delay time.Duration // before the call does anything
}

// Suffer adds to what goes wrong, and Calm ends all of it.
func (m *Mirror) Suffer(f MirrorFaults) {
	m.edit(func(*held) {
		m.faults = MirrorFaults{cmp.Or(f.Fail, m.faults.Fail), cmp.Or(f.Lose, m.faults.Lose), cmp.Or(f.Delay, m.faults.Delay)}
	})
}

// Calm ends what Suffer began.
func (m *Mirror) Calm() { m.edit(func(*held) { m.faults = MirrorFaults{} }) }

// edit changes what the mirror holds, whatever fails.
func (m *Mirror) edit(change func(h *held)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.held)
}

// look reads what the mirror holds, whatever fails.
func look[T any](m *Mirror, read func(h *held) T) T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return read(&m.held)
}

// Flush empties the mirror, as FLUSHALL does.
func (m *Mirror) Flush() { m.edit(func(h *held) { *h = emptyHeld() }) }

// Snapshot is what a mirror held at one moment.
type Snapshot struct{ held held }

// Snapshot returns what the mirror holds.
func (m *Mirror) Snapshot() Snapshot { return Snapshot{look(m, (*held).clone)} }

// Restore has the mirror hold what it held, as after a start with an old file.
func (m *Mirror) Restore(s Snapshot) { m.edit(func(h *held) { *h = s.held.clone() }) }

// Split returns another mirror that holds the same: the other side of a
// partition.
func (m *Mirror) Split() *Mirror { return &Mirror{held: m.Snapshot().held} }

// Heal has the mirror take over what another side of a partition holds.
func (m *Mirror) Heal(winner *Mirror) { m.Restore(winner.Snapshot()) }

// SwapOrigin has what the mirror holds be another database's.
func (m *Mirror) SwapOrigin(origin string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held.summary.Origin = origin
	for i := range m.held.stream {
		if e := &m.held.stream[i].Entry; e.Kind == campaign.KindStart {
			e.Origin = origin
		}
	}
}

// Lose removes a part, as eviction or an operator can. It reports whether there
// was such a part.
func (m *Mirror) Lose(part Part) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, before := &m.held, m.held.clone()
	switch part {
	case PartUser:
		for _, user := range slices.Sorted(maps.Keys(h.arrivals))[:min(1, len(h.arrivals))] {
			delete(h.arrivals, user)
		}
	case PartVoid:
		for _, user := range slices.Sorted(maps.Keys(h.voided))[:min(1, len(h.voided))] {
			delete(h.voided, user)
		}
	case PartStreamEnd:
		h.stream = h.stream[:max(0, len(h.stream)-1)]
	case PartSummary:
		h.there, h.summary, h.voids = false, emptyHeld().summary, 0
	case PartArrivals:
		h.arrivals = map[string]int64{}
	case PartStream:
		h.stream, h.newestEver = nil, campaign.Place{}
	}
	return before.there != h.there || len(before.arrivals) != len(h.arrivals) || len(before.voided) != len(h.voided) ||
		len(before.stream) != len(h.stream)
}

// Rollback has the mirror hold only the first n entries of the campaign in force,
// as after a start with a file of that time; all of them when it has fewer. It
// keeps the beat of now, which is worse than any file.
func (m *Mirror) Rollback(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, before := &m.held, m.held.clone()
	if !h.there {
		return
	}
	*h = emptyHeld()
	h.turn, h.turnEnds, h.there = before.turn, before.turnEnds, true
	s := &h.summary
	s.Origin, s.Epoch, s.Campaign, s.Beat = before.summary.Origin, before.summary.Epoch, before.summary.Campaign, before.summary.Beat
	for _, l := range before.stream {
		switch {
		case l.Epoch < s.Epoch:
			h.stream = append(h.stream, l)
		case l.Seq == s.Seq+1 && l.Seq < int64(n):
			h.add(l.Entry)
		}
	}
}

// run runs one call as a Redis would: whole, and alone.
func run[T any](ctx context.Context, m *Mirror, op string, do func(*held) T) (T, error) {
	var none T
	if err := sleep(ctx, look(m, func(*held) time.Duration { return m.faults.Delay })); err != nil {
		return none, unavailable.New("redis", op, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.Fail != nil {
		return none, unavailable.New("redis", op, m.faults.Fail)
	}
	answer := do(&m.held)
	if m.faults.Lose != nil {
		return none, unavailable.New("redis", op, m.faults.Lose)
	}
	return answer, nil
}

// read is what scripts see of what is held.
func (h *held) read() mirror.Summary {
	s := h.summary
	s.Stream = campaign.Place{Seq: -1}
	if n := len(h.stream); n > 0 {
		s.Stream = h.stream[n-1].Place
		if !h.there {
			s.Origin = h.stream[0].Entry.Origin
		}
	}
	inStream := s.Stream == s.Place
	if s.Seq < 0 {
		inStream = len(h.stream) == 0
	}
	s.Intact = h.there && inStream && int64(len(h.arrivals)) == s.Last && len(h.voided) == h.voids
	return s
}

// State implements campaign.Mirror.
func (m *Mirror) State(ctx context.Context) (campaign.MirrorState, error) {
	s, err := m.Summary(ctx)
	return s.MirrorState, err
}

// Summary is as that of mirror.Mirror.
func (m *Mirror) Summary(ctx context.Context) (mirror.Summary, error) {
	return run(ctx, m, "state", (*held).read)
}

// Standing is as that of mirror.Mirror.
func (m *Mirror) Standing(ctx context.Context, user string) (mirror.Standing, error) {
	return run(ctx, m, "standing", func(h *held) mirror.Standing {
		return mirror.Standing{Summary: h.read(), Position: h.arrivals[user], Voided: h.voided[user]}
	})
}

// Peek is what State returns, whatever fails.
func (m *Mirror) Peek() campaign.MirrorState { return look(m, (*held).read).MirrorState }

// Positions are the positions of all users, whatever fails.
func (m *Mirror) Positions() map[string]int64 {
	return look(m, func(h *held) map[string]int64 { return maps.Clone(h.arrivals) })
}

// Held is what the mirror holds of the campaign in force, and its entries,
// whatever fails.
func (m *Mirror) Held() (mirror.Summary, []campaign.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.held.read()
	var entries []campaign.Entry
	for _, l := range m.held.stream {
		if l.Epoch == s.Epoch && l.Seq <= s.Seq {
			entries = append(entries, l.Entry)
		}
	}
	return s, entries
}

// Apply implements campaign.Mirror.
func (m *Mirror) Apply(ctx context.Context, b campaign.Batch) (campaign.MirrorState, error) {
	return run(ctx, m, "apply", func(h *held) campaign.MirrorState {
		if b.Release != "" && h.turn == b.Release {
			h.turn = ""
		}
		state, answer := h.apply(b)
		state.Answer = answer
		return state
	})
}

func (h *held) apply(b campaign.Batch) (campaign.MirrorState, campaign.Answer) {
	s := h.read()
	last := b.From + int64(len(b.Entries)) - 1
	known := campaign.Place{Epoch: b.Epoch, Seq: max(b.Known, last)}
	switch {
	case s.Origin != "" && s.Origin != b.Origin:
		return s.MirrorState, campaign.AnswerForeign
	case b.Epoch < s.Epoch || b.Epoch < s.Stream.Epoch:
		return s.MirrorState, campaign.AnswerNewer
	case s.Epoch < b.Epoch || s.Seq < 0 || !s.Intact: // it begins anew
		if known.Before(s.Place) || known.Before(s.Stream) {
			return s.MirrorState, campaign.AnswerAhead
		}
		if b.From > 0 {
			s.Place, s.Hash = campaign.Place{Epoch: b.Epoch, Seq: -1}, campaign.Hash{}
			return s.MirrorState, campaign.AnswerMissing
		}
		kept := *h
		*h = emptyHeld()
		h.turn, h.turnEnds = kept.turn, kept.turnEnds
		if s.Intact && s.Campaign < b.Campaign {
			h.stream, h.newestEver = kept.stream, kept.newestEver
		}
		h.there, h.summary.Origin, h.summary.Epoch, h.summary.Campaign = true, b.Origin, b.Epoch, b.Campaign
	case b.From > s.Seq+1:
		return s.MirrorState, campaign.AnswerMissing
	}
	if common := min(last, h.summary.Seq); common >= 0 && h.hashAt(common) != hashOf(b, common) {
		return s.MirrorState, campaign.AnswerDiverged
	}
	if last < h.summary.Seq {
		return s.MirrorState, campaign.AnswerAhead
	}
	for _, e := range b.Entries {
		if e.Seq > h.summary.Seq {
			h.add(e)
		}
	}
	if b.Beat.After(h.summary.Beat) {
		h.summary.Beat = b.Beat.UTC()
	}
	if h.summary.Phase == campaign.PhaseEnded {
		h.stream = slices.DeleteFunc(h.stream, func(l mirror.Logged) bool { return l.Epoch < b.Epoch })
	}
	return h.read().MirrorState, campaign.AnswerOK
}

func (h *held) hashAt(seq int64) campaign.Hash {
	for _, l := range h.stream {
		if l.Epoch == h.summary.Epoch && l.Seq == seq {
			return l.Entry.Hash
		}
	}
	return campaign.Hash{}
}

// hashOf is the hash that the batch says the entry has.
func hashOf(b campaign.Batch, seq int64) campaign.Hash {
	if seq < b.From {
		return b.Prev
	}
	return b.Entries[seq-b.From].Hash
}

func (h *held) add(e campaign.Entry) {
	s := &h.summary
	at := campaign.Place{Epoch: s.Epoch, Seq: e.Seq}
	if !h.newestEver.Before(at) && e.Seq > 0 {
		panic("campaigntest: an entry is added to the stream below its end")
	}
	for i, user := range e.Users {
		h.arrivals[user], s.Last = e.First+int64(i), e.First+int64(i)
	}
	switch e.Kind {
	case campaign.KindStart:
		s.Phase = campaign.PhaseScheduled
	case campaign.KindOpen, campaign.KindResume:
		s.Phase = campaign.PhaseOpen
	case campaign.KindPause:
		s.Phase = campaign.PhasePaused
	case campaign.KindEnd:
		s.Phase = campaign.PhaseEnded
	case campaign.KindVoid:
		h.voided[e.User] = true
	case campaign.KindReinstate:
		delete(h.voided, e.User)
	case campaign.KindArrive, campaign.KindChange, campaign.KindAccept:
	}
	h.voids = len(h.voided)
	if e.Kind != campaign.KindArrive {
		s.Limit = e.Limit
	}
	if e.Settings != nil {
		s.Settings = *e.Settings
	}
	h.stream, h.newestEver = append(h.stream, mirror.Logged{Place: at, Entry: e}), at
	s.Place, s.Hash = at, e.Hash
}

// Turn implements campaign.Mirror.
func (m *Mirror) Turn(ctx context.Context, me string, at campaign.Place, waited time.Duration) (campaign.TurnAnswer, error) {
	return run(ctx, m, "turn", func(h *held) campaign.TurnAnswer {
		if h.next != me && time.Now().Before(h.nextEnds) && h.nextWaited >= waited {
			return campaign.TurnTaken
		}
		h.next, h.nextWaited, h.nextEnds = me, waited, time.Now().Add(100*time.Millisecond)
		switch {
		case at.Before(h.summary.Place):
			return campaign.TurnBehind
		case h.holder() != "" && h.holder() != me:
			return campaign.TurnNext
		}
		h.nextEnds = time.Time{}
		h.turn, h.turnEnds = me, time.Now().Add(200*time.Millisecond)
		return campaign.TurnGiven
	})
}

func (h *held) holder() string {
	if time.Now().Before(h.turnEnds) {
		return h.turn
	}
	return ""
}

// Seize implements campaign.Mirror.
func (m *Mirror) Seize(ctx context.Context, me string) error {
	_, err := run(ctx, m, "seize", func(h *held) bool {
		h.turn, h.turnEnds = me, time.Now().Add(time.Second)
		return true
	})
	return err
}

// Release implements campaign.Mirror.
func (m *Mirror) Release(ctx context.Context, me string) error {
	_, err := run(ctx, m, "release", func(h *held) bool {
		if h.turn == me {
			h.turn = ""
		}
		return true
	})
	return err
}

// Clear implements campaign.Mirror.
func (m *Mirror) Clear(ctx context.Context, origin string, at campaign.Place) (bool, error) {
	return run(ctx, m, "clear", func(h *held) bool {
		if s := h.read(); s.Origin != origin || s.Place != at {
			return false
		}
		kept := *h
		*h = emptyHeld()
		h.turn, h.turnEnds = kept.turn, kept.turnEnds
		return true
	})
}

// Entries implements campaign.Mirror.
func (m *Mirror) Entries(ctx context.Context) iter.Seq2[campaign.Entry, error] {
	return func(yield func(campaign.Entry, error) bool) {
		entries, err := run(ctx, m, "entries", func(h *held) []mirror.Logged { return slices.Clone(h.stream) })
		if err != nil {
			yield(campaign.Entry{}, err)
			return
		}
		for _, l := range entries {
			if !yield(l.Entry, nil) {
				return
			}
		}
	}
}

// After are the entries that follow a place in the stream, whatever fails.
func (m *Mirror) After(at campaign.Place) []mirror.Logged {
	return look(m, func(h *held) []mirror.Logged {
		return slices.DeleteFunc(slices.Clone(h.stream), func(l mirror.Logged) bool { return !at.Before(l.Place) })
	})
}
