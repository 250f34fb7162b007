package password

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// These tests run in a bubble of package synctest: time is virtual, and stands
// still while anybody is not blocked.

func work(d time.Duration) func() { return func() { time.Sleep(d) } }

func TestGateBoundsWhatRunsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, time.Minute, time.Second, time.Now)
		var running, most, ran atomic.Int64
		for range 9 {
			go func() {
				err := g.do(t.Context(), func() {
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Second)
					running.Add(-1)
					ran.Add(1)
				})
				if err != nil {
					t.Error(err)
				}
			}()
		}
		start := time.Now()
		for ran.Load() < 9 {
			time.Sleep(time.Second / 2)
		}
		if most.Load() != 2 {
			t.Errorf("%d ran at once, want 2", most.Load())
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("nine seconds of work in two places took %s", took)
		}
	})
}

func TestGateQueueIsWhatCanBeServedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, 5200*time.Millisecond, time.Second, time.Now)
		var served, refused atomic.Int64
		start := time.Now()
		for range 100 {
			go func() {
				err := g.do(t.Context(), work(time.Second))
				var busy *BusyError
				switch {
				case err == nil:
					served.Add(1)
				case errors.As(err, &busy) && errors.Is(err, ErrBusy):
					refused.Add(1)
					if !time.Now().Equal(start) {
						t.Errorf("refused after %s, want at once", time.Since(start))
					}
					if busy.RetryAfter < 5*time.Second || busy.RetryAfter > 60*time.Second || busy.RetryAfter%time.Second != 0 {
						t.Errorf("retry after %s", busy.RetryAfter)
					}
				default:
					t.Error(err)
				}
			}()
		}
		time.Sleep(time.Minute)
		if served.Load() != 12 || refused.Load() != 88 {
			t.Errorf("%d served and %d refused; want 2 at once, 10 within 5 s, and 88", served.Load(), refused.Load())
		}
	})
}

// When work takes longer than it did, those who wait are let go in time.
func TestGateWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 5*time.Second, time.Millisecond, time.Now)
		go func() { _ = g.do(t.Context(), work(time.Hour)) }()
		synctest.Wait()
		start := time.Now()
		err := g.do(t.Context(), func() { t.Error("ran without a place") })
		if !errors.Is(err, ErrBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %s, want ErrBusy after 5s", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
	})
}

// Who will want a hash later is refused at once by the number of those who are
// in already, wherever they are. Checked by counting those at the gate alone:
// all 100 are let in then, since nobody has come that far.
func TestGateAdmitsAsManyAsCanBeServedInTime(t *testing.T) {
	g := newGate(2, 5200*time.Millisecond, time.Second, time.Now)
	var leave []func()
	refused := 0
	for range 100 {
		_, out, err := g.admit(t.Context())
		var busy *BusyError
		switch {
		case err == nil:
			leave = append(leave, out)
		case errors.As(err, &busy) && busy.RetryAfter >= 5*time.Second:
			refused++
		default:
			t.Fatal(err)
		}
	}
	if len(leave) != 12 || refused != 88 {
		t.Errorf("%d let in and %d refused; want 2 and 10 who wait, and 88", len(leave), refused)
	}
	leave[0]()
	if _, _, err := g.admit(t.Context()); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	if _, _, err := g.admit(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("after another has come: %v, want ErrBusy", err)
	}
}

// Beyond perPlace for each place, whoever comes waits before anything is done
// for them, and comes in in order.
func TestGateLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Minute, time.Second, time.Now)
		leave := make([]func(), perPlace)
		for i := range leave {
			_, out, err := g.admit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			leave[i] = out
		}
		came := make(chan int, 3)
		for i := range cap(came) {
			go func() {
				_, out, err := g.admit(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				came <- i
				out()
			}()
			synctest.Wait()
		}
		if len(came) != 0 {
			t.Fatalf("%d came in while there was no room", len(came))
		}
		leave[0]()
		for i := range cap(came) {
			if got := <-came; got != i {
				t.Errorf("the %d-th to come in was the %d-th in line", i, got)
			}
		}
	})
}

// Who goes away while in line makes room in it.
func TestGateLineCallerThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, perPlace*time.Second, time.Second, time.Now)
		for range perPlace {
			if _, _, err := g.admit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, _, err := g.admit(ctx); gone <- err }()
		synctest.Wait()
		if err := g.full(); !errors.Is(err, ErrBusy) {
			t.Errorf("with a full line: %v, want ErrBusy", err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("caller that has gone: %v", err)
		}
		if err := g.full(); err != nil {
			t.Errorf("after it has gone: %v", err)
		}
	})
}

func TestGateLeaveTwice(t *testing.T) {
	g := newGate(1, time.Minute, time.Second, time.Now)
	_, stays, _ := g.admit(t.Context())
	defer stays()
	_, leave, err := g.admit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave()
	leave()
	if came, in := g.came.Load(), len(g.room); came != 1 || in != 1 {
		t.Errorf("%d came and %d are in, want 1 of each", came, in)
	}
}

// The wait in line and the wait for a place are bounded together.
func TestGateWaitIsBoundedInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 5*time.Second, time.Millisecond, time.Now)
		go func() { _ = g.do(t.Context(), work(time.Hour)) }()
		var out func()
		for range perPlace {
			_, out, _ = g.admit(t.Context())
		}
		time.AfterFunc(3*time.Second, out)
		start := time.Now()
		in, leave, err := g.admit(t.Context())
		if err != nil || time.Since(start) != 3*time.Second {
			t.Fatalf("in line: %v after %s", err, time.Since(start))
		}
		defer leave()
		err = g.do(in, func() { t.Error("ran without a place") })
		if !errors.Is(err, ErrBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %s, want ErrBusy after 5s", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
	})
}

// A request that hashes twice, as a change of password does, waits no longer
// than one that hashes once, and no wait is told twice.
func TestGateWaitIsBoundedOverSeveralRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 5*time.Second, time.Millisecond, time.Now)
		in, leave, err := g.admit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		told := make(chan time.Duration, 5)
		g.observe = func(waited, _ time.Duration) { told <- waited }
		occupy := func(d time.Duration) {
			go func() { _ = g.do(t.Context(), work(d)) }()
			synctest.Wait()
		}
		occupy(3 * time.Second)
		if err := g.do(in, work(0)); err != nil {
			t.Fatal(err)
		}
		occupy(time.Second)
		if err := g.do(in, work(0)); err != nil {
			t.Fatal(err)
		}
		occupy(time.Hour)
		start := time.Now()
		if err := g.do(in, work(0)); !errors.Is(err, ErrBusy) || time.Since(start) != time.Second {
			t.Errorf("third run: %v after %s, want ErrBusy after 1s", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
		var all time.Duration
		for range cap(told) {
			all += <-told
		}
		if all != 4*time.Second {
			t.Errorf("told of %s of waiting, want 4s", all)
		}
	})
}

// What is told of a hash has both waits, and nothing of what was done between.
func TestGateTellsHowLongWasWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Minute, time.Millisecond, time.Now)
		told := make(chan [2]time.Duration, 2) // waited, took
		g.observe = func(waited, took time.Duration) { told <- [2]time.Duration{waited, took} }
		var out func()
		for range perPlace {
			_, out, _ = g.admit(t.Context())
		}
		time.AfterFunc(3*time.Second, out)
		in, leave, err := g.admit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		time.Sleep(10 * time.Second) // asks a store
		go func() { _ = g.do(t.Context(), work(4*time.Second)) }()
		synctest.Wait()
		if err := g.do(in, work(2*time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := <-told; got != [2]time.Duration{0, 4 * time.Second} {
			t.Errorf("who did not wait: %v", got)
		}
		if got := <-told; got != [2]time.Duration{7 * time.Second, 2 * time.Second} {
			t.Errorf("waited %s and took %s, want 7s and 2s", got[0], got[1])
		}
	})
}

func TestGateCallerThatGoesFreesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 2*time.Second, time.Second, time.Now)
		go func() { _ = g.do(t.Context(), work(time.Second)) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 2)
		for range 2 { // the queue is full now
			go func() { gone <- g.do(ctx, func() { t.Error("ran for a caller that has gone") }) }()
		}
		synctest.Wait()
		if err := g.do(t.Context(), work(0)); !errors.Is(err, ErrBusy) {
			t.Errorf("with a full queue: %v, want ErrBusy", err)
		}
		cancel()
		for range 2 {
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("caller that has gone: %v", err)
			}
		}
		if err := g.do(t.Context(), work(0)); err != nil {
			t.Errorf("after they have gone: %v", err)
		}
	})
}

func TestGateServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Minute, time.Second, time.Now)
		var order []int
		done := make(chan struct{})
		for i := range 20 {
			go func() {
				_ = g.do(t.Context(), func() { time.Sleep(time.Second); order = append(order, i) })
				done <- struct{}{}
			}()
			synctest.Wait() // until the i-th is in its place
		}
		for range 20 {
			<-done
		}
		for i, got := range order {
			if got != i {
				t.Fatalf("served in order %v", order)
			}
		}
	})
}

func TestGateLearnsTheCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Minute, time.Second, time.Now)
		for range 250 {
			if err := g.do(t.Context(), work(100*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
		if got := g.expect(1); got < 99*time.Millisecond || got > 102*time.Millisecond {
			t.Errorf("expected cost %s after many of 100ms", got)
		}
	})
}

func TestGateSurvivesAPanic(t *testing.T) {
	g := newGate(1, time.Second, time.Second, time.Now)
	func() {
		defer func() { _ = recover() }()
		_ = g.do(t.Context(), func() { panic("in work") })
	}()
	if err := g.do(t.Context(), func() {}); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestGateCallerThatHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := newHasher(t)
	if _, err := h.Hash(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("hash: %v", err)
	}
	if err := h.VerifyNobody(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("verify nobody: %v", err)
	}
}
