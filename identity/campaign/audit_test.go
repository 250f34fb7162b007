package campaign

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"
)

// shortly is a finding in a line.
func shortly(all []Finding) string {
	var lines []string
	for _, f := range all {
		breaks := ""
		if f.Breaks {
			breaks = "!"
		}
		lines = append(lines, fmt.Sprintf("%s%s %s", f.Kind, breaks, f.UserID))
	}
	return strings.TrimSpace(strings.Join(lines, ", "))
}

// TestCompareMirror: a mirror that is a prefix of the log is no difference, and
// everything else is one. Each change is made to a mirror that is complete.
func TestCompareMirror(t *testing.T) {
	b := newBook(t, 2, 10)
	b.arrive(3) // u1 u2 u3
	b.do(Void("u2"))
	f := b.log.inForce
	whole := func() Copy {
		return Copy{
			MirrorState: MirrorState{Origin: "O", Place: f.At(), Hash: f.Hash(), Stream: f.At(), Intact: true, Last: 3},
			Settings:    f.settings, Limit: f.limit, Stream: f.Entries(),
			Places: map[string]CopyOf{"u1": {Position: 1}, "u2": {Position: 2, Voided: true}, "u3": {Position: 3}},
		}
	}
	later := Entry{Campaign: 1, Seq: f.seq() + 1, Kind: KindPause, At: t0, By: "x"}
	later.seal(f.Hash())
	for _, tt := range []struct {
		name   string
		change func(c *Copy)
		want   string
	}{
		{"complete", func(*Copy) {}, ""},
		{"empty", func(c *Copy) { *c = Copy{} }, "mirror"},
		{"of another database", func(c *Copy) { c.Origin = "X" }, "mirror"},
		{"behind", func(c *Copy) {
			c.Seq, c.Hash, c.Last, c.Stream, c.Places = 1, f.hashAt(1), 0, c.Stream[:2], nil
			c.Limit = 2
		}, "mirror"},
		{"of the campaign before", func(c *Copy) { c.Epoch, c.Seq, c.Stream, c.Places = 1, 8, nil, nil }, "mirror"},
		{"a part is missing", func(c *Copy) { c.Intact = false; delete(c.Places, "u1") }, "mirror"},
		{"ahead", func(c *Copy) { c.Seq++; c.Hash = later.Hash; c.Stream = append(c.Stream, later) }, "lost!"},
		{"ahead, and its stream is gone", func(c *Copy) { c.Seq++; c.Hash, c.Stream = later.Hash, nil }, "lost!"},
		{"another end", func(c *Copy) { c.Hash = later.Hash }, "differs!"},
		{"an entry was changed", func(c *Copy) { c.Stream[2].Users = []string{"m", "u2", "u3"} }, "differs!"},
		{"another discount", func(c *Copy) { c.Settings.Discount = 99 }, "differs!"},
		{"another limit", func(c *Copy) { c.Limit = 9 }, "differs!"},
		{"another position", func(c *Copy) { c.Places["u3"] = CopyOf{Position: 1} }, "differs! u3"},
		{"no position", func(c *Copy) { delete(c.Places, "u3") }, "differs! u3"},
		{"not disqualified there", func(c *Copy) { c.Places["u2"] = CopyOf{Position: 2} }, "differs! u2"},
		{"disqualified meanwhile", func(c *Copy) { c.Changed = true; c.Places["u1"] = CopyOf{Position: 1, Voided: true} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := whole()
			tt.change(&c)
			if got := shortly(f.CompareMirror(c)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestCompareLogins: who has a place has logged in, and who logged in while there
// was room has one; where clocks or a lost record leave a doubt nothing is said,
// and nothing of it is called a broken promise.
func TestCompareLogins(t *testing.T) {
	at := func(second int) time.Time { return t0.Add(time.Duration(second) * time.Second) }
	b := newBook(t, 1, 1)
	step := func(second int, c Change) {
		f, e, err := c(b.log, at(second))
		if err != nil {
			t.Fatal(err)
		}
		b.add(f.finish(e))
	}
	f := b.log.inForce
	b.add(f.arrive([]string{"ada"}, at(20)))
	step(100, Pause())
	step(200, Resume())
	b.add(f.arrive([]string{"bob"}, at(300))) // that was the last one
	step(400, Revise(func(s *Settings) { s.Waitlist = 5 }))
	step(500, End())

	for _, tt := range []struct {
		name   string
		logins []Login
		want   string
	}{
		{"both logged in", nil, ""},
		{"while there was room", []Login{{UserID: "eve", At: at(50)}, {UserID: "eve", At: at(60)}}, "no place eve"},
		{"while it was paused", []Login{{UserID: "eve", At: at(150)}}, ""},
		{"as it was paused, perhaps", []Login{{UserID: "eve", At: at(97)}}, ""},
		{"as it went on, perhaps", []Login{{UserID: "eve", At: at(204)}}, ""},
		{"after it went on", []Login{{UserID: "eve", At: at(206)}}, "no place eve"},
		{"while it was full", []Login{{UserID: "eve", At: at(350)}}, ""},
		{"after it was raised", []Login{{UserID: "eve", At: at(450)}}, "no place eve"},
		{"after its end", []Login{{UserID: "eve", At: at(600)}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := append([]Login{{UserID: "ada", At: at(24)}, {UserID: "bob", At: at(10)}, {UserID: "bob", At: at(320)}}, tt.logins...)
			found, err := f.CompareLogins(yields(all, nil), at(1000))
			if got := shortly(found); err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	found, err := f.CompareLogins(yields([]Login{{UserID: "bob", At: at(310)}}, nil), at(1000))
	if got := shortly(found); err != nil || got != "no login ada, no login bob" {
		t.Errorf("without logins: %q, %v", got, err)
	}
	if _, err := f.CompareLogins(yields(nil, errors.ErrUnsupported), at(1000)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an audit that cannot be read: %v", err)
	}
	if from, until := f.Span(at(1000)); !from.Equal(at(-5)) || !until.Equal(at(505)) {
		t.Errorf("logins are needed from %s until %s", from, until)
	}
}

func yields(all []Login, err error) iter.Seq2[Login, error] {
	return func(yield func(Login, error) bool) {
		for _, l := range all {
			if !yield(l, nil) {
				return
			}
		}
		if err != nil {
			yield(Login{}, err)
		}
	}
}

func TestCompareEdge(t *testing.T) {
	b := newBook(t, 2, 10)
	b.arrive(3)
	b.do(Void("u2"))
	f := b.log.inForce
	end := f.At()
	at := func(epoch, seq int64) Place { return Place{end.Epoch + epoch, end.Seq + seq} }
	for _, tt := range []struct {
		name string
		edge EdgeView
		want string
	}{
		{"at the end", EdgeView{Place: end, Limit: 3, Fresh: true}, ""},
		{"an entry behind", EdgeView{Place: at(0, -1), Limit: 2, Fresh: true}, ""},
		{"an entry behind, with a limit from after it", EdgeView{Place: at(0, -1), Limit: 3, Fresh: true}, "differs!"},
		{"at the end, with a limit from before", EdgeView{Place: end, Limit: 2, Fresh: true}, "differs!"},
		{"not fresh", EdgeView{Place: end, Limit: 3}, "edge"},
		{"beyond the end", EdgeView{Place: at(0, 1), Limit: 3, Fresh: true}, "lost!"},
		{"of a later epoch", EdgeView{Place: at(1, -1), Limit: 3, Fresh: true}, "lost!"},
		{"of an earlier epoch", EdgeView{Place: at(-1, 7), Limit: 9, Fresh: true}, "edge"},
		{"that has read nothing", EdgeView{Place: Place{0, -1}}, "edge"},
	} {
		if got := shortly(f.CompareEdge(tt.edge)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
