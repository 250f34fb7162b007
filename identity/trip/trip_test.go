package trip

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// road is what trips go on: it notes who goes together, and lets each trip on
// when the test says so.
type road struct {
	letOn chan struct{}

	back  atomic.Int64 // trips that have come back
	mu    sync.Mutex
	trips []string
	ends  []time.Time // until when each trip has time; zero: for ever
}

// caller is where the context of a call holds what is called.
type caller struct{}

func newRoad() *road { return &road{letOn: make(chan struct{})} }

func (r *road) make(ctx context.Context, calls []string) []string {
	if first := ctx.Value(caller{}); first != calls[0] {
		panic(fmt.Sprintf("context of %v on a trip of %v", first, calls))
	}
	defer r.back.Add(1)
	end, _ := ctx.Deadline()
	r.mu.Lock()
	r.trips, r.ends = append(r.trips, strings.Join(calls, " ")), append(r.ends, end)
	r.mu.Unlock()
	answers := make([]string, len(calls))
	select {
	case <-r.letOn:
	case <-ctx.Done():
		return answers
	}
	for i, call := range calls {
		if call == "panics" {
			panic("a fault of the client library")
		}
		answers[i] = "to " + call
	}
	return answers
}

func (r *road) line(atOnce, most int) *Line[string, string] {
	return NewLine(Config[string, string]{
		Make: r.make, AtOnce: atOnce, Most: most, Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
}

// answered is what a call got, and when.
type answered struct {
	answer string
	err    error
	at     time.Time
}

// calls makes one call after the other, none of which is answered yet.
func calls(ctx context.Context, l *Line[string, string], names ...string) []chan answered {
	var all []chan answered
	for _, name := range names {
		c := make(chan answered, 1)
		all = append(all, c)
		go func() {
			answer, err := l.Go(context.WithValue(ctx, caller{}, name), name)
			c <- answered{answer, err, time.Now()}
		}()
		synctest.Wait()
	}
	return all
}

func (r *road) expect(t *testing.T, trips ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprintf("%q", r.trips) != fmt.Sprintf("%q", trips) {
		t.Fatalf("trips %q, want %q", r.trips, trips)
	}
}

// Calls that find others on their way go together after them, in their order
// and up to a bound; what finds few goes at once. Nobody waits for time to pass.
// Checked by taking the last who wait first, and all of them.
func TestCallsShareTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, r := time.Now(), newRoad()
		l := r.line(2, 3)
		names := []string{"a", "b", "c", "d", "e", "f", "g"}
		all := calls(t.Context(), l, names...)
		r.expect(t, "a", "b")
		if l.Waiting() != 5 {
			t.Errorf("%d wait, want 5", l.Waiting())
		}
		r.letOn <- struct{}{}
		r.expect(t, "a", "b", "c d e")
		r.letOn <- struct{}{}
		r.expect(t, "a", "b", "c d e", "f g")
		close(r.letOn)
		for i, name := range names {
			if got := <-all[i]; got.answer != "to "+name || got.err != nil || !got.at.Equal(start) {
				t.Errorf("call %s got %+v", name, got)
			}
		}
		synctest.Wait()
		<-calls(t.Context(), l, "h")[0]
		r.expect(t, "a", "b", "c d e", "f g", "h")
	})
}

// A call that goes alone is made as if there were no line: with the caller's
// own context, and an answer counts although that has ended. Checked by giving
// every trip a context of its own, and by looking at the context first.
func TestAloneWithItsOwnContext(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	l := NewLine(Config[string, string]{AtOnce: 1, Most: 1, Make: func(got context.Context, calls []string) []string {
		leave()
		if got.Err() == nil {
			t.Error("the caller's end is not that of the trip")
		}
		return calls
	}})
	for range 20 { // since a select chooses by chance
		if answer, err := l.Go(ctx, "a"); answer != "a" || err != nil {
			t.Fatalf("%q, %v, want the answer", answer, err)
		}
	}
}

// Who leaves gets the error of their context at once, and is not taken along
// if they still waited; the trip they were on goes on for the others. Checked by
// taking those who have left along, and without WithoutCancel.
func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoad()
		l := r.line(1, 100)
		first := calls(t.Context(), l, "a")
		leaving, leave := context.WithCancel(t.Context())
		left := calls(leaving, l, "left")
		leave()
		if got := <-left[0]; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who left got %+v, want canceled", got)
		}
		leaving, leave = context.WithCancel(t.Context())
		left = calls(leaving, l, "b")
		stayed := calls(t.Context(), l, "c")
		r.letOn <- struct{}{}
		r.expect(t, "a", "b c")
		leave()
		if got := <-left[0]; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who left on the way got %+v, want canceled", got)
		}
		synctest.Wait()
		close(r.letOn)
		if got := <-stayed[0]; got.answer != "to c" || got.err != nil {
			t.Errorf("who stayed got %+v, want the answer", got)
		}
		<-first[0]
	})
}

// A trip ends when nobody waits for it any more; a caller without a deadline
// waits for the time limit. Checked with the deadline of the first, and of none.
func TestTripEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		waits []time.Duration // of each caller; 0: for ever
		want  time.Duration
	}{
		{"with the last deadline", []time.Duration{time.Second, 3 * time.Second, 2 * time.Second}, 3 * time.Second},
		{"with the time limit", []time.Duration{3 * time.Second, 0, 2 * time.Second}, 10 * time.Second},
		{"with a deadline after the time limit", []time.Duration{20 * time.Second, 0}, 20 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tripEnds(t, test.waits, test.want) })
		})
	}
}

func tripEnds(t *testing.T, waits []time.Duration, want time.Duration) {
	start, r := time.Now(), newRoad()
	l := r.line(1, 100)
	alone := calls(t.Context(), l, "a")
	var all []chan answered
	for i, wait := range waits {
		ctx := t.Context()
		if wait > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, wait)
			defer cancel()
		}
		all = append(all, calls(ctx, l, fmt.Sprint("caller", i))...)
	}
	r.letOn <- struct{}{}
	<-alone[0]
	for i, wait := range waits {
		if got, until := <-all[i], start.Add(cmp.Or(wait, want)); !got.at.Equal(until) {
			t.Errorf("caller %d got %+v, want it at %s", i, got, until)
		}
	}
	synctest.Wait()
	if got := r.ends[1].Sub(start); got != want {
		t.Errorf("the trip may take %s, want %s", got, want)
	}
}

// A panic costs those on the trip their answer, and nobody else a trip: neither
// one in the goroutine of a caller nor one in another. Checked without recover.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoad()
		l := r.line(1, 2)
		var log bytes.Buffer
		l.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		all := calls(t.Context(), l, "panics", "a", "panics", "b", "c")
		close(r.letOn)
		for i, want := range []string{"", "", "", "to b", "to c"} {
			got := <-all[i]
			if got.answer != want || errors.Is(got.err, ErrPanic) != (want == "") {
				t.Errorf("call %d got %+v, want %q", i, got, want)
			}
		}
		synctest.Wait()
		r.expect(t, "panics", "a panics", "b c")
		if n := strings.Count(log.String(), "trip_test.go"); strings.Count(log.String(), "\n") != 2 || n < 2 {
			t.Errorf("log %s, want one record with the stack of each panic", log.String())
		}
	})
}

// A trip that comes back without an answer to each call leaves nobody waiting.
func TestAnswersMissing(t *testing.T) {
	l := NewLine(Config[string, string]{AtOnce: 1, Most: 1, Make: func(context.Context, []string) []string { return nil }})
	if answer, err := l.Go(t.Context(), "a"); !errors.Is(err, ErrPanic) {
		t.Errorf("%q, %v, want ErrPanic", answer, err)
	}
}

// Who waits for the line to be idle waits for those under way and those behind
// them, but not for ever. Checked by returning at once, and by never telling.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoad()
		l := r.line(1, 1)
		l.Wait(t.Context())
		calls(t.Context(), l, "a", "b")
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if l.Wait(ctx); time.Since(start) != time.Second {
			t.Errorf("waited %s for two calls without an answer, want 1 s", time.Since(start))
		}
		idle := make(chan int64, 2)
		for range cap(idle) {
			go func() {
				l.Wait(t.Context())
				idle <- r.back.Load()
			}()
		}
		synctest.Wait()
		close(r.letOn)
		for range cap(idle) {
			if n := <-idle; n != 2 {
				t.Errorf("idle when %d of 2 trips were back", n)
			}
		}
	})
}
