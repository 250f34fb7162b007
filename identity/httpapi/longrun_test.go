package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
)

// forgetful is a store that keeps no audit, which would grow by itself.
type forgetful struct{ *memstore.Store }

func (forgetful) RecordAttempt(context.Context, account.Attempt) error { return nil }

// usage is what a service holds.
type usage struct {
	goroutines int
	heap       int64
}

// settle waits until the garbage is gone and no goroutine ends any more.
func settle() usage {
	last := usage{}
	for {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now := usage{pprof.Lookup("goroutine").Count(), int64(m.HeapAlloc)}
		if now.goroutines == last.goroutines && now.heap >= last.heap-64<<10 {
			return now
		}
		last = now
		time.Sleep(20 * time.Millisecond)
	}
}

// TestLongRun logs in 50,000 times, some with a wrong password and some going
// away before the answer, and finds no more goroutines and memory than after
// the first 5,000.
func TestLongRun(t *testing.T) {
	memory := newStore
	newStore = func(testing.TB) auditedStore { return forgetful{memstore.New()} }
	t.Cleanup(func() { newStore = memory })
	s := start(t)
	for n := range 8 {
		s.register(t, fmt.Sprintf("user-%d", n))
	}
	logins := func(total int) {
		var clients sync.WaitGroup
		for c := range 8 {
			clients.Go(func() {
				for n := range total / 8 {
					s.loginOnce(t, fmt.Sprintf("user-%d", c), n)
				}
			})
		}
		clients.Wait()
		s.logs.Reset()
		s.promotions.forget()
	}
	logins(5_000)
	before := settle()
	for range 9 {
		logins(5_000)
	}
	after := settle()
	t.Logf("after 5,000 logins %d goroutines and %d KiB, after 50,000 %d and %d KiB",
		before.goroutines, before.heap>>10, after.goroutines, after.heap>>10)
	if after.goroutines > before.goroutines+2 {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Errorf("%d goroutines grew to %d\n%s", before.goroutines, after.goroutines, stacks.String())
	}
	if after.heap > before.heap+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before.heap, after.heap)
	}
}

// loginOnce calls the handler itself: a connection for each would cost more
// than all that is looked at.
func (s *service) loginOnce(t *testing.T, name string, n int) {
	ctx, password, want := context.Background(), goodPassword, http.StatusOK
	if n%10 == 3 {
		password, want = "wrong", http.StatusUnauthorized
	}
	if n%100 == 7 {
		gone, leave := context.WithCancel(ctx)
		leave()
		ctx, want = gone, http.StatusServiceUnavailable
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/login", strings.NewReader(credentials(name, password)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	if w.Code != want {
		t.Errorf("login: %d %s, want %d", w.Code, w.Body, want)
	}
}

func (p *promotions) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.placed = nil
}
