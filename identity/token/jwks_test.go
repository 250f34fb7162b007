package token_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

// answer is what a source says to a request.
type answer func(*http.Request) (*http.Response, error)

// source is an HTTP transport that answers as it is told, and remembers when
// and how often it was asked. It works on the fake clock of a synctest bubble.
type source struct {
	mu      sync.Mutex
	answer  answer
	fetches []time.Time
	running int
	most    int // fetches that ran at once
}

func (s *source) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches = append(s.fetches, time.Now())
	s.running++
	s.most = max(s.most, s.running)
	answer := s.answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	return answer(r)
}

func (s *source) set(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = a
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fetches)
}

func respond(status int, body string, header ...string) answer {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Add(header[i], header[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

func down(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// withJWKS runs test in a bubble with a JWKS whose Run has been started.
func withJWKS(t *testing.T, first answer, test func(t *testing.T, s *source, j *token.JWKS)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: first}
		j := newJWKS(t, "http://identity.example/.well-known/jwks.json", &http.Client{Transport: s})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		synctest.Wait()
		test(t, s, j)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if s.most > 1 {
			t.Errorf("%d fetches at once, want 1", s.most)
		}
	})
}

func newJWKS(t *testing.T, url string, client *http.Client) *token.JWKS {
	t.Helper()
	j, err := token.NewJWKS(token.JWKSConfig{
		URL: url, Client: client, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("NewJWKS: %v", err)
	}
	return j
}

// pass lets fake time pass.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func wantKey(t *testing.T, j *token.JWKS, kid string, want error) {
	t.Helper()
	key, err := j.PublicKey(kid)
	if !errors.Is(err, want) || (want == nil && !key.Equal(testPublic)) {
		t.Errorf("PublicKey(%q) = %x, %v; want %v", kid, key, err, want)
	}
}

func TestJWKSFetchesAtOnceAndRefreshes(t *testing.T) {
	withJWKS(t, respond(200, jwks(jwk("a"))), func(t *testing.T, s *source, j *token.JWKS) {
		if !j.Ready() || s.count() != 1 {
			t.Fatalf("ready %v after %d fetches, want true after 1", j.Ready(), s.count())
		}
		wantKey(t, j, "a", nil)
		s.set(respond(200, jwks(jwk("b"))))
		pass(5*time.Minute - 1)
		if s.count() != 1 {
			t.Errorf("%d fetches before the refresh is due", s.count())
		}
		pass(2)
		wantKey(t, j, "b", nil)
		wantKey(t, j, "a", token.ErrUnknownKey)
	})
}

func TestJWKSWithoutKeysRetries(t *testing.T) {
	withJWKS(t, down, func(t *testing.T, s *source, j *token.JWKS) {
		wantKey(t, j, "a", token.ErrNoKeys)
		if j.Ready() {
			t.Error("ready without keys")
		}
		pass(time.Minute)
		if n := s.count(); n < 12 || n > 40 {
			t.Errorf("%d fetches in a minute, want a back-off to 2.5 to 5 s", n)
		}
		checkBackOff(t, s.fetches, 5*time.Second)
		s.set(respond(200, jwks(jwk("a"))))
		pass(5 * time.Second)
		wantKey(t, j, "a", nil)
		if err := j.WaitReady(t.Context()); err != nil {
			t.Errorf("WaitReady = %v", err)
		}
	})
}

func checkBackOff(t *testing.T, at []time.Time, limit time.Duration) {
	t.Helper()
	if first := at[1].Sub(at[0]); first < 100*time.Millisecond || first > 200*time.Millisecond {
		t.Errorf("first retry after %v, want 100 to 200 ms", first)
	}
	for i := range len(at) - 1 {
		if gap := at[i+1].Sub(at[i]); gap > limit {
			t.Errorf("retry %d after %v, want at most %v", i+1, gap, limit)
		}
	}
}

func TestJWKSWaitReadyEndsWithItsContext(t *testing.T) {
	withJWKS(t, down, func(t *testing.T, _ *source, j *token.JWKS) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := j.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitReady = %v, want the deadline", err)
		}
	})
}

func TestJWKSKeepsOldKeys(t *testing.T) {
	tests := []struct {
		name   string
		answer answer
	}{
		{"connection refused", down},
		{"an answer that never comes", hang},
		{"status 500", respond(500, jwks(jwk("b")))},
		{"status 404", respond(404, "")},
		{"status 204", respond(204, "")},
		{"a redirect to nowhere", respond(302, "")},
		{"garbage", respond(200, "<html>maintenance</html>")},
		{"an empty body", respond(200, "")},
		{"an empty set", respond(200, `{"keys":[]}`)},
		{"two keys of one kid", respond(200, jwks(jwk("b"), jwk("b")))},
		{"a body without end", func(r *http.Request) (*http.Response, error) {
			resp, _ := respond(200, "")(r)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(jwks(jwk("b"))), endless{}))
			return resp, nil
		}},
		{"a body that breaks off", func(r *http.Request) (*http.Response, error) {
			resp, _ := respond(200, "")(r)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(jwks(jwk("b"))), broken{}))
			return resp, nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			withJWKS(t, respond(200, jwks(jwk("a"))), func(t *testing.T, s *source, j *token.JWKS) {
				s.set(tt.answer)
				pass(time.Hour)
				wantKey(t, j, "a", nil)
				wantKey(t, j, "b", token.ErrUnknownKey)
				if n := s.count(); n < 8 {
					t.Errorf("%d fetches in an hour, want it to go on trying", n)
				}
				s.set(respond(200, jwks(jwk("b"))))
				pass(10 * time.Minute)
				wantKey(t, j, "b", nil)
			})
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte(" "), len(p))), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestJWKSUnknownKidRefetches(t *testing.T) {
	withJWKS(t, respond(200, jwks(jwk("a"))), func(t *testing.T, s *source, j *token.JWKS) {
		s.set(respond(200, jwks(jwk("a"), jwk("b"))))
		pass(30 * time.Second)
		wantKey(t, j, "b", token.ErrUnknownKey)
		synctest.Wait()
		wantKey(t, j, "b", nil)
		if s.count() != 2 {
			t.Errorf("%d fetches, want 2", s.count())
		}
	})
}

func TestJWKSUnknownKidSoonAfterAFetch(t *testing.T) {
	withJWKS(t, respond(200, jwks(jwk("a"))), func(t *testing.T, s *source, j *token.JWKS) {
		s.set(respond(200, jwks(jwk("a"), jwk("b"))))
		pass(3 * time.Second)
		wantKey(t, j, "b", token.ErrUnknownKey)
		pass(7*time.Second - 1)
		if s.count() != 1 {
			t.Errorf("%d fetches within 10 s, want 1", s.count())
		}
		pass(1)
		wantKey(t, j, "b", nil)
	})
}

// TestJWKSUnknownKidFlood asks for unknown keys all the time, with a source
// that works and with one that does not.
func TestJWKSUnknownKidFlood(t *testing.T) {
	for name, answer := range map[string]answer{
		"source up": respond(200, jwks(jwk("a"))), "source down": down,
	} {
		t.Run(name, func(t *testing.T) {
			withJWKS(t, respond(200, jwks(jwk("a"))), func(t *testing.T, s *source, j *token.JWKS) {
				s.set(answer)
				for range 1200 {
					wantKey(t, j, "evil", token.ErrUnknownKey)
					pass(100 * time.Millisecond)
				}
				for i := range s.fetches[1:] {
					if gap := s.fetches[i+1].Sub(s.fetches[i]); gap < 10*time.Second {
						t.Errorf("fetch %d came %v after the one before, want 10 s", i+1, gap)
					}
				}
				if n := s.count(); n < 12 {
					t.Errorf("%d fetches in 2 min, want one each 10 s", n)
				}
			})
		})
	}
}

func TestJWKSHonoursMaxAge(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		want   time.Duration
	}{
		{"none", nil, 5 * time.Minute},
		{"a minute", []string{"Cache-Control", "public, max-age=60"}, time.Minute},
		{"capitals and quotes", []string{"Cache-Control", `Max-Age="60"`}, time.Minute},
		{"second line", []string{"Cache-Control", "public", "Cache-Control", "max-age=60"}, time.Minute},
		{"zero", []string{"Cache-Control", "max-age=0"}, 10 * time.Second},
		{"a year", []string{"Cache-Control", "max-age=31536000"}, 5 * time.Minute},
		{"another directive", []string{"Cache-Control", "s-maxage=60"}, 5 * time.Minute},
		{"garbage", []string{"Cache-Control", "max-age=-1"}, 5 * time.Minute},
		{"huge", []string{"Cache-Control", "max-age=99999999999999999999"}, 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			withJWKS(t, respond(200, jwks(jwk("a")), tt.header...), func(t *testing.T, s *source, _ *token.JWKS) {
				pass(tt.want - 1)
				if s.count() != 1 {
					t.Errorf("%d fetches before %v, want 1", s.count(), tt.want)
				}
				pass(1)
				if s.count() != 2 {
					t.Errorf("%d fetches at %v, want 2", s.count(), tt.want)
				}
			})
		})
	}
}

// TestJWKSRedirects uses real servers: a redirect within the host is followed,
// one to another host is not, whatever key it offers.
func TestJWKSRedirects(t *testing.T) {
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, jwks(jwk("evil")))
	}))
	defer evil.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, jwks(jwk("good"))) })
	mux.Handle("/moved", http.RedirectHandler("/keys", http.StatusFound))
	mux.Handle("/away", http.RedirectHandler(evil.URL, http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	good := httptest.NewServer(mux)
	defer good.Close()
	for path, want := range map[string]bool{"/keys": true, "/moved": true, "/away": false, "/loop": false} {
		t.Run(path, func(t *testing.T) {
			answered := make(chan struct{}, 100)
			client := &http.Client{Transport: noticing{answered}}
			j := newJWKS(t, good.URL+path, client)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := make(chan struct{})
			go func() { defer close(done); _ = j.Run(ctx) }()
			if want {
				if err := j.WaitReady(ctx); err != nil {
					t.Fatalf("WaitReady: %v", err)
				}
				wantKey(t, j, "good", nil)
			} else {
				<-answered
				<-answered // of the second fetch: the first one is over
				wantKey(t, j, "evil", token.ErrNoKeys)
			}
			cancel()
			<-done
		})
	}
}

// The log names where keys were asked for, and never the query, which may hold a
// secret. Checked by logging net/http's own error.
func TestJWKSKeepsQueriesOutOfLogs(t *testing.T) {
	for name, a := range map[string]answer{
		"down": down, "status": respond(500, ""), "no keys": respond(200, "{}"),
		"redirect elsewhere": respond(302, "", "Location", "https://other.example/?key=hunter2"),
		"redirect nowhere":   respond(302, "", "Location", "http://[::1?key=hunter2"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				j, err := token.NewJWKS(token.JWKSConfig{
					URL: "http://user:hunter1@identity.example/keys?key=hunter2", Client: &http.Client{Transport: &source{answer: a}},
					Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				go func() { _ = j.Run(ctx) }()
				synctest.Wait()
				cancel()
				synctest.Wait()
				if said := log.String(); !strings.Contains(said, "http://identity.example/keys") || strings.Contains(said, "hunter") {
					t.Errorf("want host and path, and no secret: %s", said)
				}
			})
		})
	}
}

// noticing tells of every answer that comes for the path first asked for.
type noticing struct{ answered chan<- struct{} }

func (n noticing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if r.Response == nil { // not a redirect
		n.answered <- struct{}{}
	}
	return resp, err
}

func TestVerifyWithRotatingJWKS(t *testing.T) {
	withJWKS(t, respond(200, jwks(jwk("old"))), func(t *testing.T, s *source, j *token.JWKS) {
		verifier := newVerifier(t, testNow, j)
		old, next := withHeader(fields{"kid": "old"}), withHeader(fields{"kid": "next"})
		verify := func(raw string, want error) {
			t.Helper()
			if _, err := verifier.Verify(raw); !errors.Is(err, want) {
				t.Errorf("Verify = %v, want %v", err, want)
			}
		}
		verify(old, nil)
		s.set(respond(200, jwks(jwk("old"), jwk("next"))))
		pass(time.Minute)
		verify(next, token.ErrUnknownKey)
		synctest.Wait()
		verify(next, nil)
		verify(old, nil)
		s.set(respond(200, jwks(jwk("next"))))
		pass(5 * time.Minute)
		verify(old, token.ErrUnknownKey)
		verify(next, nil)
	})
}

var _ token.KeySource = token.NewKeySet(map[string]ed25519.PublicKey{})
