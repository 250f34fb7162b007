package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPick(t *testing.T) {
	pick := func(t *testing.T, u *upstream) (string, func()) {
		t.Helper()
		address, done, err := u.pick()
		if err != nil {
			t.Fatal(err)
		}
		return address, done
	}
	t.Run("in turn while all are idle", func(t *testing.T) {
		u := newUpstream(upstreamEntity{}, slog.New(slog.DiscardHandler))
		u.add("a")
		u.add("b")
		var got []string
		for range 4 {
			address, done := pick(t, u)
			got = append(got, address)
			done()
		}
		if strings.Join(got, "") != "abab" {
			t.Errorf("order %v", got)
		}
	})
	t.Run("least connections", func(t *testing.T) {
		u := newUpstream(upstreamEntity{}, slog.New(slog.DiscardHandler))
		u.add("a")
		u.add("b")
		first, _ := pick(t, u)
		second, done := pick(t, u)
		done()
		third, _ := pick(t, u)
		if first != "a" || second != "b" || third != "b" {
			t.Errorf("picked %s, %s, %s; want a, b, b", first, second, third)
		}
	})
	t.Run("none is healthy", func(t *testing.T) {
		u := newUpstream(upstreamEntity{}, slog.New(slog.DiscardHandler))
		u.add("a")
		u.targets[0].down = true
		if _, _, err := u.pick(); !errors.Is(err, errNoTarget) {
			t.Errorf("error %v, want errNoTarget", err)
		}
	})
}

func TestHealthChecksTakeATargetOutAndIn(t *testing.T) {
	var broken atomic.Bool
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() && r.URL.Path == "/whatever/the/file/says" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer service.Close()
	g, err := New(Config{Declarative: []byte(`
_format_version: "3.0"
upstreams:
  - name: u
    targets: [{target: "` + strings.TrimPrefix(service.URL, "http://") + `"}]
    healthchecks:
      active:
        http_path: /whatever/the/file/says
        timeout: 1
        healthy: {interval: 0.01, successes: 2, http_statuses: [200]}
        unhealthy: {interval: 0.01, http_failures: 2, tcp_failures: 2, http_statuses: [503]}
services:
  - {name: s, host: u, connect_timeout: 1000, read_timeout: 5000, routes: [{name: r, paths: ["~/"], strip_path: false}]}
`)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	await := func(status int) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			w := httptest.NewRecorder()
			g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
			if w.Code == status && (status != 503 || strings.Contains(w.Body.String(), "ring-balancer")) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("answer %d %s, want %d", w.Code, w.Body, status)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	await(200)
	broken.Store(true)
	await(503)
	broken.Store(false)
	await(200)
}
