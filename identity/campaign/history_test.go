package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHistory goes through a campaign of three slots, a minute between entries:
// open 0, arrivals 1 and 2, a void 3, an arrival 4, a raise 5, a pause 6.
func TestHistory(t *testing.T) {
	b := newBook(t, 3, 10)
	f := b.log.inForce
	at := t0
	later := func(e Entry) {
		at = at.Add(time.Minute)
		e.At, e.By = at, "test"
		b.add(f.finish(e))
	}
	decide := func(c Change) {
		_, e, err := c(b.log, t0)
		if err != nil {
			t.Fatal(err)
		}
		later(e)
	}
	if !f.OpenedAt().Equal(t0) || !f.Since().Equal(t0) || !f.FullAt().IsZero() {
		t.Fatalf("opened %s, since %s, full %s", f.OpenedAt(), f.Since(), f.FullAt())
	}
	later(f.arrive([]string{"a", "b"}, at))
	later(f.arrive([]string{"c", "d"}, at))
	if full := f.FullAt(); !full.Equal(t0.Add(2 * time.Minute)) {
		t.Errorf("full at %s", full)
	}
	decide(Void("a"))
	later(f.arrive([]string{"e"}, at))
	if full := f.FullAt(); !full.Equal(t0.Add(3 * time.Minute)) {
		t.Errorf("after the void: full at %s, want the time of the void", full)
	}
	decide(Revise(func(s *Settings) { s.Slots = 9 }))
	decide(Pause())
	if !f.FullAt().IsZero() || !f.Since().Equal(at) || !f.OpenedAt().Equal(t0) {
		t.Errorf("after the raise and the pause: full %s, since %s", f.FullAt(), f.Since())
	}

	var seen []string
	for e, after := range f.Replay() {
		seen = append(seen, fmt.Sprintf("%s:%d+%d", e.Kind, after.Granted(), after.Waiting()))
	}
	if got, want := strings.Join(seen, " "), "start:0+0 open:0+0 arrive:2+0 arrive:3+1 void:3+0 arrive:3+1 change:4+0 pause:4+0"; got != want {
		t.Errorf("replayed %s\nwant     %s", got, want)
	}
	seen = nil
	for at, n := range f.Arrivals() {
		seen = append(seen, fmt.Sprintf("%s:%d", at.Sub(t0), n))
	}
	if got, want := strings.Join(seen, " "), "1m0s:2 2m0s:2 4m0s:1"; got != want {
		t.Errorf("arrivals %s, want %s", got, want)
	}
	seen = nil
	for _, e := range f.Decisions() {
		seen = append(seen, string(e.Kind))
	}
	if got, want := strings.Join(seen, " "), "start open void change pause"; got != want {
		t.Errorf("decisions %s, want %s", got, want)
	}
}
