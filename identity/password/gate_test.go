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

// A request is rejected at once by the number of those that hold a place, whether
// they hash or still ask a store. Checked by counting those that wait for a slot:
// all 100 get a place then.
func TestGateQueueCountsRequests(t *testing.T) {
	g := newGate(2, 5200*time.Millisecond, time.Second, time.Now)
	var places []func()
	rejected := 0
	for range 100 {
		_, release, err := g.enter(t.Context())
		var busy *BusyError
		switch {
		case err == nil:
			places = append(places, release)
		case errors.As(err, &busy) && busy.RetryAfter >= 5*time.Second:
			rejected++
		default:
			t.Fatal(err)
		}
	}
	if len(places) != 12 || rejected != 88 {
		t.Errorf("%d have a place and %d were rejected; want 2 and 10 who wait, and 88", len(places), rejected)
	}
	places[0]()
	places[0]() // does nothing
	if _, _, err := g.enter(t.Context()); err != nil {
		t.Errorf("after one place was released: %v", err)
	}
	if _, _, err := g.enter(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("after it was taken: %v, want ErrBusy", err)
	}
}

// A request that hashes twice, as a change of password does, has one deadline for
// both, which what it does before and between does not move. Checked with a
// deadline for each hash.
func TestGateDeadlineIsOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 5*time.Second, time.Millisecond, time.Now)
		waits := make(chan time.Duration, 5)
		g.observe = func(waited, _ time.Duration) { waits <- waited }
		queued, release, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		start := time.Now()
		time.Sleep(time.Second) // asks a store
		occupy := func(d time.Duration) {
			go func() { _ = g.do(t.Context(), work(d)) }()
			synctest.Wait()
		}
		occupy(2 * time.Second)
		if err := g.do(queued, work(time.Second)); err != nil {
			t.Fatal(err)
		}
		if first, own := <-waits, <-waits; first != 0 || own != 2*time.Second {
			t.Errorf("observed waits of %s and %s, want 0s and 2s", first, own)
		}
		occupy(time.Hour)
		if err := g.do(queued, work(0)); !errors.Is(err, ErrBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("second hash: %v after %s, want ErrBusy after 5s", err, time.Since(start))
		}
		if err := g.do(queued, work(0)); !errors.Is(err, ErrBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("after the deadline: %v after %s, want ErrBusy at once", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
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
