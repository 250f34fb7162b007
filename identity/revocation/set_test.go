package revocation

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestSet(t *testing.T) {
	s := newSet()
	for _, r := range []Revocation{
		{TokenID: "dead", Until: noon},
		{UserID: "alice", Generation: 2, Until: noon},
		{UserID: "alice", Generation: 5, Until: noon},
		{UserID: "alice", Generation: 3, Until: noon}, // late: it takes nothing back
	} {
		s.add(r, 0, 0)
	}
	for _, test := range []struct {
		name      string
		jti, user string
		gen       int64
		want      bool
	}{
		{"token", "dead", "bob", 0, true},
		{"another token", "live", "bob", 0, false},
		{"generation 0", "live", "alice", 0, true},
		{"generation before", "live", "alice", 4, true},
		{"the generation itself", "live", "alice", 5, false},
		{"generation after", "live", "alice", 6, false},
		{"token of a good generation", "dead", "alice", 5, true},
		{"a user called like a token", "live", "dead", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := s.revoked(test.jti, test.user, test.gen); got != test.want {
				t.Errorf("revoked = %t, want %t", got, test.want)
			}
		})
	}
	if got := s.generation("alice"); got != 5 {
		t.Errorf("generation of alice = %d, want 5", got)
	}
	if got := s.generation("bob"); got != 0 {
		t.Errorf("generation of bob = %d, want 0", got)
	}
}

func TestSetForgetsWhatIsOver(t *testing.T) {
	s := newSet()
	for i := range 100 {
		at := noon.Add(time.Duration(i) * time.Second)
		s.add(Revocation{TokenID: fmt.Sprint(i), Until: at}, 0, 0)
		s.add(Revocation{UserID: fmt.Sprint(i), Generation: 1, Until: at}, 0, 0)
	}
	s.add(Revocation{UserID: "0", Generation: 2, Until: noon.Add(time.Hour)}, 0, 0)
	s.add(Revocation{UserID: "0", Generation: 1, Until: noon}, 0, 0) // read again: it shortens nothing
	s.prune(noon.Add(89 * time.Second))
	if tokens, generations := s.size(); tokens != 10 || generations != 11 {
		t.Errorf("%d tokens and %d generations left, want 10 and 11", tokens, generations)
	}
	if !s.revoked("90", "", 0) || s.revoked("89", "", 0) || !s.revoked("", "0", 1) {
		t.Error("what is left is not what may still matter")
	}
}

func TestHeard(t *testing.T) {
	s := newSet()
	token, old, late := Revocation{TokenID: "T"}, Revocation{UserID: "u", Generation: 1}, Revocation{UserID: "u", Generation: 2}
	s.add(token, 1, 0)
	s.add(late, 1, 0)
	s.add(token, 0, 0) // from the store: heard all the same
	for _, r := range []Revocation{token, old, late} {
		if !s.heard(r, 1) {
			t.Errorf("%s was not heard in load 1", r.ID())
		}
		if s.heard(r, 2) || s.heard(r, 0) {
			t.Errorf("%s was heard in a load that did not bring it", r.ID())
		}
	}
	s.add(Revocation{UserID: "u", Generation: 3}, 0, 0)
	if s.heard(late, 2) || s.heard(Revocation{UserID: "u", Generation: 3}, 1) {
		t.Error("a generation that came from the store was heard")
	}
}

// Whatever lives longest must be remembered for as long as it lives: a token
// issued on a clock ahead by the leeway, judged on one behind by the leeway.
func TestKeepOutlivesEveryToken(t *testing.T) {
	expires := noon.Add(time.Minute + 30*time.Minute)
	last := expires.Add(time.Minute)
	if r := ofGeneration("u", 1, noon); !r.Until.After(last) {
		t.Errorf("a generation is forgotten at %s, a token lives until %s", r.Until, last)
	}
	if r := ofToken("T", expires, noon); !r.Until.After(last) || r.Until.Sub(r.At) > Keep {
		t.Errorf("a token id is kept for %s, until %s; a token lives until %s and the stream keeps %s", r.Until.Sub(r.At), r.Until, last, Keep)
	}
}

func BenchmarkRevoked(b *testing.B) {
	f := NewFeed(FeedConfig{})
	for i := range 100_000 {
		f.known.add(Revocation{TokenID: fmt.Sprintf("%026d", i), Until: noon}, 0, 0)
		f.known.add(Revocation{UserID: fmt.Sprintf("%026d", i), Generation: 1, Until: noon}, 0, 0)
	}
	const jti, user = "4VHUZ2TTRRNHZZWQCMWOKUQBCD", "DCBQUKOWMCQWZZHNRRTT2ZUHV4"
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f.Revoked(jti, user, 0) {
				b.Fatal("revoked")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if f.Revoked(jti, user, 0) {
					b.Fail()
				}
			}
		})
	})
}
