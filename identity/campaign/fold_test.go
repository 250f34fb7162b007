package campaign

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// book is a log under construction.
type book struct {
	t   *testing.T
	log *Log
}

func newBook(t *testing.T, slots, waitlist int64) *book {
	b := &book{t, &Log{Origin: "O", first: 1}}
	b.do(Start(Settings{Name: "N", Discount: 30, Slots: slots, Waitlist: waitlist}))
	open, due := b.log.due(t0)
	if !due {
		t.Fatal("the campaign does not open")
	}
	b.add(b.log.latest.finish(open))
	return b
}

func (b *book) do(c Change) Entry {
	b.t.Helper()
	f, e, err := c(b.log, t0)
	if err != nil {
		b.t.Fatal(err)
	}
	e.By = "test"
	return b.add(f.finish(e))
}

func (b *book) add(e Entry) Entry {
	b.t.Helper()
	if err := b.log.apply(e); err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *book) arrive(n int) {
	b.t.Helper()
	f := b.log.inForce
	var users []string
	for i := range n {
		users = append(users, fmt.Sprintf("u%d", f.Last()+int64(i)+1))
	}
	b.add(f.arrive(users, t0))
}

func (b *book) ranks() string {
	f := b.log.inForce
	var ranks []string
	for p := int64(1); p <= f.Last(); p++ {
		if g, ok := f.Grant(p); ok {
			ranks = append(ranks, fmt.Sprint(g.Rank))
		}
	}
	return strings.Join(ranks, " ")
}

// TestLimit holds who is granted after voids, raises and reinstatements. The
// fourth case is the one where slots plus voids would be wrong: who was voided
// waited behind the limit.
func TestLimit(t *testing.T) {
	cases := []struct {
		name  string
		steps func(b *book)
		ranks string
		slots int64
	}{
		{"nobody voided", func(*book) {}, "1 2 3", 3},
		{"a winner voided", func(b *book) { b.do(Void("u2")) }, "1 3 4", 3},
		{"the next in line voided, too", func(b *book) { b.do(Void("u2")); b.do(Void("u4")) }, "1 3 5", 3},
		{"one who waits voided", func(b *book) { b.do(Void("u5")) }, "1 2 3", 3},
		{"one who waits voided before a winner", func(b *book) { b.do(Void("u4")); b.do(Void("u1")) }, "2 3 5", 3},
		{"raised", func(b *book) { b.do(Revise(func(s *Settings) { s.Slots = 5 })) }, "1 2 3 4 5", 5},
		{"reinstated after the place passed on", func(b *book) { b.do(Void("u2")); b.do(Reinstate("u2")) }, "1 2 3 4", 4},
		{"one who waits reinstated", func(b *book) { b.do(Void("u5")); b.do(Reinstate("u5")) }, "1 2 3", 3},
		{"reinstated when who got the place was voided", func(b *book) {
			b.do(Void("u2"))
			b.do(Void("u4"))
			b.do(Void("u5"))
			b.do(Void("u6"))
			b.do(Reinstate("u2"))
		}, "1 2 3", 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(t, 3, 10)
			b.arrive(6)
			c.steps(b)
			f := b.log.inForce
			if got := b.ranks(); got != c.ranks || f.settings.Slots != c.slots {
				t.Errorf("ranks %s of %d slots, want %s of %d", got, f.settings.Slots, c.ranks, c.slots)
			}
			if int64(len(strings.Fields(c.ranks))) != f.Granted() {
				t.Errorf("%d granted, want %s", f.Granted(), c.ranks)
			}
		})
	}
}

// TestReinstatedBeforeThePlacePassedOn gives nobody a second discount: the place
// is still there.
func TestReinstatedBeforeThePlacePassedOn(t *testing.T) {
	b := newBook(t, 3, 10)
	b.arrive(3)
	b.do(Void("u2"))
	b.do(Reinstate("u2"))
	b.arrive(1)
	if got := b.ranks(); got != "1 2 3" || b.log.inForce.settings.Slots != 3 {
		t.Errorf("ranks %s of %d slots, want 1 2 3 of 3", got, b.log.inForce.settings.Slots)
	}
}

// TestGrantedAt is when the place was within the limit: at the arrival, or when
// the limit grew to it.
func TestGrantedAt(t *testing.T) {
	b := newBook(t, 1, 10)
	b.arrive(3)
	f := b.log.inForce
	grown := f.draft(KindChange, "test", t0.Add(time.Hour))
	settings := f.settings
	settings.Slots = 2
	grown.Settings = &settings
	b.add(f.finish(grown))
	for position, want := range map[int64]time.Time{1: t0, 2: t0.Add(time.Hour)} {
		if g, ok := f.Grant(position); !ok || !g.GrantedAt.Equal(want) {
			t.Errorf("position %d: granted %v at %s, want %s", position, ok, g.GrantedAt, want)
		}
	}
	if _, ok := f.Grant(3); ok {
		t.Error("position 3 is granted of 2 slots")
	}
}

// TestFollows refuses every entry that cannot be the next one, changes nothing,
// and names the entry.
func TestFollows(t *testing.T) {
	cases := []struct {
		name   string
		spoil  func(f *Fold, e *Entry)
		reason string
	}{
		{"a gap", func(_ *Fold, e *Entry) { e.Seq++ }, "does not follow 1:"},
		{"another hash", func(_ *Fold, e *Entry) { e.Hash[0]++ }, "hash does not follow"},
		{"another user", func(_ *Fold, e *Entry) { e.Users = []string{"x"} }, "hash does not follow"},
		{"an unknown kind", func(f *Fold, e *Entry) { e.Kind = "future"; *e = f.finish(*e) }, "newer version"},
		{"going back in time", func(f *Fold, e *Entry) { e.At = e.At.Add(-time.Second); *e = f.finish(*e) }, "older than"},
		{"microseconds", func(f *Fold, e *Entry) { e.At = e.At.Add(time.Microsecond); *e = f.finish(*e) }, "milliseconds"},
		{"a second place", func(f *Fold, e *Entry) { e.Users = []string{"u1"}; *e = f.finish(*e) }, "second place"},
		{"a user twice", func(f *Fold, e *Entry) { e.Users = []string{"x", "x"}; *e = f.finish(*e) }, "second place"},
		{"a position left out", func(f *Fold, e *Entry) { e.First++; *e = f.finish(*e) }, "positions begin"},
		{"more than there is room for", func(f *Fold, e *Entry) { e.Users = []string{"a", "b", "c", "d"}; *e = f.finish(*e) }, "more than there are places for"},
		{"another limit", func(f *Fold, e *Entry) { e.Kind, e.Limit = KindPause, 99; e.seal(f.Hash()) }, "should be 2"},
		{"fewer slots", func(f *Fold, e *Entry) {
			s := f.settings
			s.Slots = 1
			e.Kind, e.Settings, e.Limit = KindChange, &s, 1
			e.seal(f.Hash())
		}, "only grow"},
		{"made a rehearsal", func(f *Fold, e *Entry) {
			s := f.settings
			s.Rehearsal = true
			e.Kind, e.Settings, e.Limit = KindChange, &s, f.limit
			e.seal(f.Hash())
		}, "decided at its start"},
		{"resumed while open", func(f *Fold, e *Entry) { e.Kind = KindResume; *e = f.finish(*e) }, "only a paused"},
		{"opened twice", func(f *Fold, e *Entry) { e.Kind = KindOpen; *e = f.finish(*e) }, "opened or ended"},
		{"a void of nobody", func(f *Fold, e *Entry) { e.Kind, e.User = KindVoid, "x"; *e = f.finish(*e) }, "holds no place"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(t, 2, 2)
			b.arrive(1)
			f := b.log.inForce
			e := f.arrive([]string{"u2"}, t0)
			c.spoil(f, &e)
			before := f.At()
			err := b.log.apply(e)
			var damage *DamageError
			if !errors.As(err, &damage) || !strings.Contains(damage.Reason, c.reason) {
				t.Fatalf("error %v, want damage because %q", err, c.reason)
			}
			if f.At() != before || f.Last() != 1 {
				t.Errorf("the entry was folded in all the same: at %s, last %d", f.At(), f.Last())
			}
		})
	}
}

// TestAfterTheEnd lets only voids, reinstatements and accepts follow, and the
// next campaign.
func TestAfterTheEnd(t *testing.T) {
	b := newBook(t, 2, 2)
	b.arrive(2)
	b.do(End())
	f := b.log.inForce
	for _, kind := range []Kind{KindOpen, KindArrive, KindChange, KindPause, KindResume, KindEnd} {
		e := f.draft(kind, "test", t0)
		e.Users, e.First, e.Settings = []string{"x"}, 3, &f.settings
		if err := f.allows(e); err == nil {
			t.Errorf("%s after the end is allowed", kind)
		}
	}
	b.do(Void("u1"))
	b.do(Reinstate("u1"))
	b.do(Start(Settings{Name: "next", Slots: 1, StartsAt: t0.Add(time.Hour)}))
	if b.log.inForce != f {
		t.Error("a scheduled campaign took the discount from the one before")
	}
	b.do(Void("u2"))
	if got := b.ranks(); got != "1" {
		t.Errorf("ranks %s after a void while the next campaign was scheduled, want 1", got)
	}
	if _, _, err := Start(Settings{Name: "third", Slots: 1})(b.log, t0); !errors.Is(err, ErrRefused) {
		t.Errorf("a third campaign beside a scheduled one: %v, want ErrRefused", err)
	}
}

// TestEpochs are never shared, also when a backup has lost a whole campaign.
func TestEpochs(t *testing.T) {
	b := newBook(t, 1, 0)
	b.do(End())
	f := b.log.latest
	accept := f.draft(KindAccept, "test", t0)
	accept.Epoch, accept.Lost = 2*epochs+1, &Lost{Place: Place{Epoch: 2 * epochs, Seq: 3}}
	b.add(f.finish(accept))
	start := b.do(Start(Settings{Name: "again", Slots: 1}))
	if start.Campaign != 2 || start.Epoch != 2*epochs+2 {
		t.Errorf("campaign %d has epoch %d, want 2 and %d: the lost campaign 2 had %d", start.Campaign, start.Epoch, 2*epochs+2, 2*epochs)
	}
}

func TestValidateSettings(t *testing.T) {
	good := Settings{Name: "N", Discount: 30, Slots: 100, Waitlist: 10_000}
	cases := []struct {
		name  string
		spoil func(s *Settings)
		field string
	}{
		{"no name", func(s *Settings) { s.Name = "" }, "name"},
		{"a name that is too long", func(s *Settings) { s.Name = strings.Repeat("ä", maxName+1) }, "name"},
		{"a line break", func(s *Settings) { s.Description = "a\nb" }, "description"},
		{"not UTF-8", func(s *Settings) { s.Description = "\xff" }, "description"},
		{"a discount below zero", func(s *Settings) { s.Discount = -1 }, "discount"},
		{"a discount over 100", func(s *Settings) { s.Discount = 101 }, "discount"},
		{"no slots", func(s *Settings) { s.Slots = 0 }, "slots"},
		{"too many places", func(s *Settings) { s.Slots, s.Waitlist = 250_001, 250_000 }, "slots"},
		{"an overflow", func(s *Settings) { s.Slots, s.Waitlist = 1<<62, 1<<62 }, "slots"},
		{"a waiting list below zero", func(s *Settings) { s.Waitlist = -1 }, "waitlist"},
		{"an end before the start", func(s *Settings) { s.StartsAt, s.EndsAt = t0, t0 }, "ends"},
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := good
			c.spoil(&s)
			var invalid *InvalidError
			if err := s.Validate(); !errors.As(err, &invalid) || invalid.Field != c.field {
				t.Errorf("error %v, want one of field %s", err, c.field)
			}
		})
	}
}

// TestEntriesFrom returns the log in batches as it was appended, from wherever.
func TestEntriesFrom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, 1000, 1000)
		want := b.log.inForce.Entries()
		for range rapid.IntRange(0, 12).Draw(rt, "steps") {
			f := b.log.inForce
			switch rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				b.arrive(rapid.IntRange(1, 5).Draw(rt, "users"))
			case 1:
				b.do(Revise(func(s *Settings) { s.Slots++ }))
			case 2:
				b.do(Pause())
				b.do(Resume())
			}
			_ = f
		}
		f := b.log.inForce
		all := f.Entries()
		if int64(len(all)) != f.seq()+1 || len(all) < len(want) {
			rt.Fatalf("%d entries, want %d", len(all), f.seq()+1)
		}
		again := newFold(1)
		n := rapid.IntRange(1, 8).Draw(rt, "batch")
		for again.seq() < f.seq() {
			batch := f.entriesFrom(again.seq()+1, n)
			if len(batch) == 0 {
				rt.Fatal("no entries though there are more")
			}
			for _, e := range batch {
				if err := again.apply(e); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if again.Hash() != f.Hash() || again.Last() != f.Last() || again.limit != f.limit {
			rt.Fatal("the batches make another log")
		}
	})
}
