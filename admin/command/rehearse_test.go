package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/admin/rehearse"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/keyring"
)

// gateway is a gateway in front of an identity service that hashes nothing: its
// accounts, its keys and its campaign are in the test's stores.
type gateway struct {
	url string
	// before is called before each request is served, and may answer it.
	before func(w http.ResponseWriter, r *http.Request) (answered bool)
}

func newGateway(t *testing.T, s *testStores) *gateway {
	t.Helper()
	ring, err := keyring.Open(t.Context(), keyring.Config{
		Store: s.mongo, Secret: [keyring.SecretSize]byte{1}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Lead: 10 * time.Minute, Refresh: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	replica := s.replica(t)
	g := &gateway{before: func(http.ResponseWriter, *http.Request) bool { return false }}
	handlers := http.NewServeMux()
	handlers.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ring.JWKS().JSON()) })
	handlers.HandleFunc("POST /users", func(w http.ResponseWriter, r *http.Request) {
		name := nameIn(r)
		err := s.mongo.CreateUser(context.WithoutCancel(r.Context()), account.User{ID: "ID-" + name, Username: name, Canonical: name, CreatedAt: time.Now()},
			account.Credential{Canonical: name, UserID: "ID-" + name, Password: "none"})
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
	})
	handlers.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Earlybird", "status="+string(replica.Place(r.Context(), "ID-"+nameIn(r)).Status))
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.before(w, r) {
			handlers.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func nameIn(r *http.Request) string {
	var body struct{ Username string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	return strings.ToLower(body.Username)
}

// left are the rehearsals' accounts that there are.
func (s *testStores) left(t *testing.T) (n int) {
	t.Helper()
	for _, err := range s.mongo.Credentials(t.Context(), rehearse.Prefix, false) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestRehearse plays two launch days with 30 users for 5 slots.
func TestRehearse(t *testing.T) {
	stores := newStores(t)
	g := newGateway(t, stores)
	page := filepath.Join(t.TempDir(), "report.html")
	for n, how := range []string{"--at-once", "--rate 300/s --clean"} {
		status, out, errs := stores.run(t.Context(), nil, fmt.Sprintf("rehearse --gateway %s --users 30 --slots 5 %s --html %s --output json --yes", g.url, how, page))
		if status != exitDone {
			t.Fatalf("%s: exit %d\n%s", how, status, errs)
		}
		var report rehearse.Report
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatal(err)
		}
		if report.Done != 30 || report.Told["pending"] != 30 || report.Granted != 5 || report.Campaign != int64(n+1) || report.Broken() {
			t.Errorf("%s: %s", how, out)
		}
		f := stores.latest(t)
		if f.Campaign() != report.Campaign || !f.Settings().Rehearsal || f.Phase() != campaign.PhaseEnded || f.Last() != 30 || f.Settings().Discount != 0 {
			t.Errorf("%s: campaign %d %+v is %s with %d places", how, f.Campaign(), f.Settings(), f.Phase(), f.Last())
		}
		if got := stores.left(t); got != 30 { // of the first alone
			t.Errorf("%s: %d accounts are left", how, got)
		}
		if text, err := os.ReadFile(page); err != nil || !strings.HasSuffix(string(text), "</html>\n") {
			t.Errorf("%s: the page is not whole: %v", how, err)
		}
		if strings.Contains(errs, "stay:") == strings.Contains(how, "--clean") {
			t.Errorf("%s: said\n%s", how, errs)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(page)); len(entries) != 1 {
		t.Errorf("%d files beside the page", len(entries)-1)
	}
}

// TestRehearseWithAccounts uses accounts that exist, and leaves them alone.
func TestRehearseWithAccounts(t *testing.T) {
	stores := newStores(t)
	g := newGateway(t, stores)
	file := filepath.Join(t.TempDir(), "accounts.csv")
	if err := os.WriteFile(file, []byte("username,password\nada,one\nBob,two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("rehearse --gateway %s --accounts %s --at-once --slots 1 --yes", g.url, file)
	if status, _, errs := stores.run(t.Context(), nil, line); status != exitFailed || !strings.Contains(errs, "there is no user") || stores.latest(t) != nil {
		t.Errorf("without the accounts: exit %d, %s", status, errs)
	}
	for _, name := range []string{"ada", "bob"} {
		err := stores.mongo.CreateUser(t.Context(), account.User{ID: "ID-" + name, Username: name, Canonical: name, CreatedAt: time.Now()},
			account.Credential{Canonical: name, UserID: "ID-" + name, Password: "none"})
		if err != nil {
			t.Fatal(err)
		}
	}
	g.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/users" {
			t.Error("it registers")
		}
		return false
	}
	if out := stores.mustRun(t, line+" --output csv"); !strings.Contains(out, ",1,1,") || !strings.Contains(out, "2 pending") {
		t.Errorf("got %s", out)
	}
}

// TestRehearsalInTheWay: nothing is left behind where a rehearsal is refused.
func TestRehearsalInTheWay(t *testing.T) {
	tests := []struct {
		name string
		// set up what is in the way, and return what is said of it
		setUp func(t *testing.T, s *testStores, g *gateway) string
		slots int64 // of the newest campaign afterwards; 0: there is none
	}{
		{"another system", func(t *testing.T, _ *testStores, g *gateway) string {
			other := newGateway(t, newStores(t))
			g.url = other.url
			return "serves other keys than those in MongoDB"
		}, 0},
		{"no Earlybird", func(_ *testing.T, _ *testStores, g *gateway) string {
			g.before = func(w http.ResponseWriter, _ *http.Request) bool {
				_, err := w.Write([]byte("<html>"))
				return err == nil
			}
			return "does not serve Earlybird's keys"
		}, 0},
		{"enrolment", func(_ *testing.T, _ *testStores, g *gateway) string {
			g.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/users" {
					return false
				}
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, err := w.Write([]byte(`{"detail":"code: is required","errors":[{"field":"code","message":"is required"}]}`))
				return err == nil
			}
			return "hint: rehearse with accounts that exist: --accounts FILE"
		}, 0},
		{"a campaign that is started while accounts are registered", func(t *testing.T, s *testStores, g *gateway) string {
			var once atomic.Bool
			g.before = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/users" && once.CompareAndSwap(false, true) {
					s.mustRun(t, "campaign start --yes --name Launch --slots 2 --discount 30")
				}
				return false
			}
			return "campaign 1 \"Launch\" (active, 0 of 2 granted, 0 waiting) has not ended"
		}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stores := newStores(t)
			g := newGateway(t, stores)
			want := tt.setUp(t, stores, g)
			page := filepath.Join(t.TempDir(), "report.html")
			status, _, errs := stores.run(t.Context(), nil, fmt.Sprintf("rehearse --gateway %s --users 8 --at-once --clean --html %s --yes", g.url, page))
			if status != exitFailed || !strings.Contains(errs, want) {
				t.Errorf("exit %d, want %q in\n%s", status, want, errs)
			}
			if n := stores.left(t); n != 0 {
				t.Errorf("%d accounts are left", n)
			}
			f := stores.latest(t)
			if (f == nil) != (tt.slots == 0) || f != nil && (f.Settings().Rehearsal || f.Phase() != campaign.PhaseOpen) {
				t.Errorf("the newest campaign is %+v", f)
			}
			if files, _ := os.ReadDir(filepath.Dir(page)); len(files) != 0 {
				t.Errorf("there is a file %s", files[0].Name())
			}
		})
	}
}

// TestRehearsalInterrupted: Ctrl-C ends the campaign, removes the accounts and
// reports what was measured.
func TestRehearsalInterrupted(t *testing.T) {
	for _, at := range []string{"/users", "/login"} {
		t.Run(at, func(t *testing.T) {
			stores := newStores(t)
			g := newGateway(t, stores)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var requests atomic.Int64
			g.before = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != at || requests.Add(1) <= 5 {
					return false
				}
				if at == "/login" {
					testwait(t, "the five before are placed", func() bool { return stores.latest(t).Last() == 5 })
				}
				interrupt()
				return true // to a client that is gone
			}
			page := filepath.Join(t.TempDir(), "report.html")
			status, out, errs := stores.run(ctx, nil, fmt.Sprintf("rehearse --gateway %s --users 9 --rate 200/s --clean --html %s --yes", g.url, page))
			if status != exitInterrupted || !strings.Contains(errs, "interrupted") {
				t.Errorf("exit %d: %s", status, errs)
			}
			if n := stores.left(t); n != 0 {
				t.Errorf("%d accounts are left", n)
			}
			_, err := os.Stat(page)
			f := stores.latest(t)
			if at == "/users" {
				if f != nil || out != "" || !errors.Is(err, os.ErrNotExist) {
					t.Errorf("campaign %+v, said %s, page: %v", f, out, err)
				}
				return
			}
			if f.Phase() != campaign.PhaseEnded || f.Last() != 5 || !strings.Contains(out, "was not done yet") || err != nil {
				t.Errorf("campaign is %s with %d places, page: %v, said\n%s", f.Phase(), f.Last(), err, out)
			}
		})
	}
}

// TestRehearsalDecidedByAnother: what another operator does to the campaign does
// not keep it from being ended.
func TestRehearsalDecidedByAnother(t *testing.T) {
	for command, want := range map[string]string{"campaign pause --yes": "paused", "campaign end --yes": "ended"} {
		t.Run(want, func(t *testing.T) {
			stores := newStores(t)
			g := newGateway(t, stores)
			var logins atomic.Int64
			g.before = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/login" && logins.Add(1) == 5 {
					stores.mustRun(t, command)
				}
				return false
			}
			out := stores.mustRun(t, fmt.Sprintf("rehearse --gateway %s --users 30 --rate 100/s --yes", g.url))
			if f := stores.latest(t); f.Phase() != campaign.PhaseEnded || f.Campaign() != 1 || !strings.Contains(out, want) {
				t.Errorf("campaign %d is %s, said\n%s", f.Campaign(), f.Phase(), out)
			}
		})
	}
}

// TestTwoRehearsals: a rehearsal that another has overtaken ends and reports its own
// campaign, whose number is then not the one that it asked about.
func TestTwoRehearsals(t *testing.T) {
	stores := newStores(t)
	g := newGateway(t, stores)
	line := fmt.Sprintf("rehearse --gateway %s --at-once --yes --output json --users ", g.url)
	var once atomic.Bool
	g.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/users" && once.CompareAndSwap(false, true) {
			stores.mustRun(t, line+"1")
		}
		return false
	}
	out := stores.mustRun(t, line+"3")
	var report rehearse.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	f := stores.latest(t)
	if f.Campaign() != 2 || f.Phase() != campaign.PhaseEnded || report.Campaign != 2 || report.Granted != 3 {
		t.Errorf("campaign %d is %s, reported: %s", f.Campaign(), f.Phase(), out)
	}
	if actions := stores.mustRun(t, "actions --output csv"); !strings.Contains(actions, "rehearse,done,2,") {
		t.Errorf("on record is\n%s", actions)
	}
}

// TestRehearsalEndsByItself: when the program is killed the clock ends the
// campaign.
func TestRehearsalEndsByItself(t *testing.T) {
	stores := newStores(t)
	g := newGateway(t, stores)
	stores.mustRun(t, fmt.Sprintf("rehearse --gateway %s --users 30 --rate 1800/m --yes", g.url))
	s := stores.latest(t).Settings()
	if got := s.EndsAt.Sub(s.StartsAt); got != time.Second+drains+spare {
		t.Errorf("it ends after %s", got)
	}
}
