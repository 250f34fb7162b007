package mirror_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// staleness is how old a no may be at most: the 15 s after a beat, by how much a
// beat may be late, and how long the step of time is in between.
const staleness = 15*time.Second + 1500*time.Millisecond + 50*time.Millisecond

// world is a log, two copies of a Redis that replicas fill and that fail, and an
// edge that reads one of them.
type world struct {
	t       *rapid.T
	now     time.Time
	log     *campaigntest.History
	copies  [2]*campaigntest.Mirror // the same one unless the network is split
	reads   int                     // which copy the edge reads
	kept    []campaigntest.Snapshot
	view    *mirror.View
	users   []string
	watched map[string]*mirror.User
	facts   map[string][]fact // what the log said of each user, in order of time
}

// fact is that the log granted the user this from a time on; zero: nothing.
type fact struct {
	since time.Time
	grant mirror.Grant
}

// fill has a replica bring a copy up to the log, as far as n entries of it, with
// a beat of this age; a negative one: without.
func (w *world) fill(m *campaigntest.Mirror, n int, age time.Duration) {
	if m.Peek().Origin != "" && m.Peek().Origin != origin {
		return
	}
	for from := 0; ; {
		b := w.log.Batch(from, n)
		if age >= 0 && n == len(w.log.Entries) {
			b.Beat = w.now.Add(-age)
		}
		s, err := m.Apply(w.t.Context(), b)
		if err != nil || s.Answer != campaign.AnswerMissing {
			return
		}
		if from = int(s.Seq) + 1; from > n {
			return
		}
	}
}

func (w *world) note() {
	positions, limit, discount, voided := map[string]int64{}, int64(0), int64(0), map[string]bool{}
	for _, e := range w.log.Entries {
		for i, user := range e.Users {
			positions[user] = e.First + int64(i)
		}
		if e.Kind == campaign.KindVoid || e.Kind == campaign.KindReinstate {
			voided[e.User] = e.Kind == campaign.KindVoid
		}
		if e.Kind != campaign.KindArrive {
			limit = e.Limit
		}
		if e.Settings != nil {
			discount = e.Settings.Discount
		}
	}
	for _, user := range w.users {
		var g mirror.Grant
		if p := positions[user]; p > 0 && p <= limit && !voided[user] {
			g = mirror.Grant{Campaign: w.log.Campaign, Rank: p, Discount: discount}
		}
		if f := w.facts[user]; len(f) == 0 || f[len(f)-1].grant != g {
			w.facts[user] = append(f, fact{w.now, g})
		}
	}
}

// grow appends an entry that the log allows.
func (w *world) grow() {
	limit := int64(0)
	placed, voided := []string{}, map[string]bool{}
	for _, e := range w.log.Entries {
		placed = append(placed, e.Users...)
		if e.Kind == campaign.KindVoid || e.Kind == campaign.KindReinstate {
			voided[e.User] = e.Kind == campaign.KindVoid
		}
		if e.Kind != campaign.KindArrive {
			limit = e.Limit
		}
	}
	new := slices.DeleteFunc(slices.Clone(w.users), func(u string) bool { return slices.Contains(placed, u) })
	switch what := rapid.SampledFrom([]string{"arrive", "arrive", "void", "raise", "next"}).Draw(w.t, "entry"); {
	case what == "arrive" && len(new) > 0:
		n := rapid.IntRange(1, min(3, len(new))).Draw(w.t, "users")
		w.log.Add(campaign.Entry{Kind: campaign.KindArrive, Users: rapid.Permutation(new).Draw(w.t, "order")[:n]})
	case what == "void" && len(placed) > 0:
		user, kind := rapid.SampledFrom(placed).Draw(w.t, "user"), campaign.KindVoid
		if voided[user] {
			kind = campaign.KindReinstate
		}
		w.log.Add(campaign.Entry{Kind: kind, User: user, Limit: limit + 1})
	case what == "next" && rapid.IntRange(0, 3).Draw(w.t, "really") == 0:
		w.log.Add(campaign.Entry{Kind: campaign.KindEnd, Limit: limit})
		w.fill(w.copies[0], len(w.log.Entries), -1)
		w.log = campaigntest.NewHistory(origin, w.log.Campaign+1, 2)
	default:
		settings := *w.log.Entries[0].Settings
		settings.Discount = int64(len(w.log.Entries)) % 100
		w.log.Add(campaign.Entry{Kind: campaign.KindChange, Limit: limit + 1, Settings: &settings})
	}
	w.note()
}

// ask asks the edge for a user, as a request does, and holds what it is told
// against the log.
func (w *world) ask(user string) {
	u := w.watched[user]
	if u == nil {
		u = w.view.Watch(user)
		w.watched[user] = u
	}
	g, k := w.view.Grant(u)
	if k == mirror.Unread {
		if s, err := w.copies[w.reads].Standing(w.t.Context(), user); err == nil {
			g, k = w.view.Learn(u, s)
		}
	}
	w.judge(user, g, k)
}

// judge holds that a grant is one that the log gave, and that a no was true a
// short time ago.
func (w *world) judge(user string, g mirror.Grant, k mirror.Knowledge) {
	facts := w.facts[user]
	switch k {
	case mirror.Granted:
		g.Discount = 0
		if !slices.ContainsFunc(facts, func(f fact) bool { f.grant.Discount = 0; return f.grant == g }) {
			w.t.Fatalf("%s is told %+v, which the log never gave: %+v", user, g, facts)
		}
	case mirror.NotGranted:
		for i, f := range facts {
			until := w.now
			if i+1 < len(facts) {
				until = facts[i+1].since
			}
			if f.grant == (mirror.Grant{}) && !until.Before(w.now.Add(-staleness)) {
				return
			}
		}
		w.t.Fatalf("%s is told that there is no grant, and held one for %s: %+v", user, staleness, facts)
	}
}

// TestModel has replicas, two copies of a Redis and an edge do what they may, in
// any order. After every step each intact copy is a prefix of the log, and what
// the edge says of everybody is true, or was a short time ago.
// Broken on purpose, each found within 6,000 runs: a beat of any age counted (m4);
// a no told without Fresh; an answer kept that is older than At; a mirror that is
// not intact believed; freshness kept when the mirror falls back (h14).
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: time.Unix(1_000_000, 0), watched: map[string]*mirror.User{}, facts: map[string][]fact{}}
		for i := range 8 {
			w.users = append(w.users, fmt.Sprint("u", i))
		}
		w.log = campaigntest.NewHistory(origin, 1, 2)
		w.note()
		one := campaigntest.NewMirror()
		w.copies = [2]*campaigntest.Mirror{one, one}
		w.view = mirror.NewView(mirror.ViewConfig{Now: func() time.Time { return w.now }})
		for range 2 { // the edge has seen how the clocks go
			w.now = w.now.Add(time.Second)
			w.fill(one, 2, 0)
			w.look()
		}
		pick := func() *campaigntest.Mirror { return w.copies[rapid.IntRange(0, 1).Draw(t, "copy")] }
		do := map[string]func(*rapid.T){
			"grow": func(*rapid.T) { w.grow() },
			"fill": func(*rapid.T) { w.fill(w.copies[0], len(w.log.Entries), 0) },
			"fill part": func(t *rapid.T) {
				w.fill(pick(), rapid.IntRange(2, len(w.log.Entries)).Draw(t, "entries"), -1)
			},
			"late beat": func(t *rapid.T) {
				m := pick()
				s := m.Peek()
				if s.Epoch != w.log.Epoch || !s.Intact {
					return
				}
				// It vouches for what was the end of the log then; now it is so for this copy.
				b := w.log.Batch(int(s.Seq)+1, int(s.Seq)+1)
				b.Beat = w.now.Add(-time.Duration(rapid.IntRange(2, 20).Draw(t, "age")) * time.Second)
				if int(s.Seq)+1 < len(w.log.Entries) {
					_, _ = m.Apply(t.Context(), b)
				}
			},
			"time": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "seconds") {
					w.now = w.now.Add(time.Second)
					if rapid.Bool().Draw(t, "beat") {
						w.fill(w.copies[0], len(w.log.Entries), 0)
					}
					if rapid.Bool().Draw(t, "look") {
						w.look()
					}
				}
			},
			"look": func(*rapid.T) { w.look() },
			"look while things happen": func(t *rapid.T) {
				m := w.copies[w.reads]
				look(t.Context(), w.view, m, func() {
					switch rapid.SampledFrom([]string{"grow", "fill", "flush", "lose", "restore", "swap"}).Draw(t, "meanwhile") {
					case "grow":
						w.grow()
					case "fill":
						w.fill(w.copies[0], len(w.log.Entries), 0)
					case "flush":
						m.Flush()
					case "lose":
						m.Lose(rapid.SampledFrom(campaigntest.Parts).Draw(t, "part"))
					case "restore":
						if len(w.kept) > 0 {
							m.Restore(rapid.SampledFrom(w.kept).Draw(t, "backup"))
						}
					case "swap":
						if m.Peek().Origin == origin {
							m.SwapOrigin("ANOTHER")
						}
					}
				})
			},
			"ask": func(t *rapid.T) { w.ask(rapid.SampledFrom(w.users).Draw(t, "user")) },
			"slow answer": func(t *rapid.T) {
				user := rapid.SampledFrom(w.users).Draw(t, "user")
				u := w.watched[user]
				s, err := w.copies[w.reads].Standing(t.Context(), user)
				if u == nil || err != nil {
					return
				}
				w.grow()
				w.fill(w.copies[0], len(w.log.Entries), 0)
				w.look()
				g, k := w.view.Learn(u, s)
				w.judge(user, g, k)
			},
			"split": func(t *rapid.T) {
				if w.copies[0] == w.copies[1] {
					w.copies[1] = w.copies[0].Split()
				}
				w.reads = rapid.IntRange(0, 1).Draw(t, "side")
			},
			"heal": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "the other side wins") {
					w.copies[0].Heal(w.copies[1])
				}
				w.copies[1], w.reads = w.copies[0], 0
			},
			"backup": func(*rapid.T) { w.kept = append(w.kept, w.copies[0].Snapshot()) },
			"restore": func(t *rapid.T) {
				if len(w.kept) > 0 {
					pick().Restore(rapid.SampledFrom(w.kept).Draw(t, "backup"))
				}
			},
			"flush": func(*rapid.T) { pick().Flush() },
			"lose":  func(t *rapid.T) { pick().Lose(rapid.SampledFrom(campaigntest.Parts).Draw(t, "part")) },
			"swap": func(t *rapid.T) {
				m := pick()
				if m.Peek().Origin != "" {
					m.SwapOrigin(rapid.SampledFrom([]string{origin, "ANOTHER"}).Draw(t, "origin"))
				}
			},
			"down": func(*rapid.T) { pick().Suffer(campaigntest.MirrorFaults{Fail: errors.New("refused")}) },
			"up":   func(*rapid.T) { w.copies[0].Calm(); w.copies[1].Calm() },
		}
		steps := append(slices.Sorted(maps.Keys(do)), "time", "time", "time", "grow", "grow", "ask", "ask", "fill", "look", "up", "up")
		for range rapid.IntRange(10, 200).Draw(t, "steps") {
			do[rapid.SampledFrom(steps).Draw(t, "step")](t)
			for _, m := range w.copies {
				w.prefix(m)
			}
			for user, u := range w.watched {
				g, k := w.view.Grant(u)
				w.judge(user, g, k)
			}
		}
	})
}

func (w *world) look() { look(w.t.Context(), w.view, w.copies[w.reads], func() {}) }

// prefix holds that a copy that is intact is a prefix of the log, as far as it is
// of the log's campaign.
func (w *world) prefix(m *campaigntest.Mirror) {
	s, entries := m.Held()
	if !s.Intact || s.Origin != origin || s.Epoch != w.log.Epoch {
		return
	}
	for i, e := range entries {
		if i >= len(w.log.Entries) || e.Hash != w.log.Entries[i].Hash {
			w.t.Fatalf("the mirror is no prefix of the log at %d", i)
		}
	}
	if int64(len(entries)) != s.Seq+1 {
		w.t.Fatalf("the mirror says %s and has %d entries", s.Place, len(entries))
	}
	last := int64(0)
	for _, e := range entries {
		for i, user := range e.Users {
			last = e.First + int64(i)
			if m.Positions()[user] != last {
				w.t.Fatalf("%s is at %d in the mirror, and at %d in the log", user, m.Positions()[user], last)
			}
		}
	}
	if last != s.Last {
		w.t.Fatalf("the mirror says that %d places are given, the log %d", s.Last, last)
	}
}
