package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/httpapi"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func TestRegister(t *testing.T) {
	s := start(t)
	got := s.post(t, "/users", credentials("Alice", goodPassword))
	if got.status != http.StatusCreated {
		t.Fatalf("POST /users: %d %s", got.status, got.body)
	}
	var user map[string]string
	must(t, json.Unmarshal([]byte(got.body), &user))
	if len(user) != 2 || user["username"] != "Alice" || user["id"] == "" {
		t.Errorf("body %s: want exactly username as typed, and id", got.body)
	}
	if at := got.header.Get("Location"); at != "/users/"+user["id"] {
		t.Errorf("Location = %q", at)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", got.header)
	}
	if got.header.Get("Link") != "" {
		t.Errorf("Link to a schema: %q", got.header.Get("Link"))
	}
}

func TestRegisterRefusals(t *testing.T) {
	s := start(t)
	s.register(t, "alice")
	cases := map[string]struct {
		body   string
		status int
		fields []string
	}{
		"taken":             {credentials("alice", goodPassword), 409, nil},
		"taken, other case": {credentials("ALICE", goodPassword), 409, nil},
		"short name":        {credentials("al", goodPassword), 422, []string{"username"}},
		"short password":    {credentials("bob", "short"), 422, []string{"password"}},
		"both":              {credentials("b", "short"), 422, []string{"username", "password"}},
		"NUL in name":       {credentials("bob\x00", goodPassword), 422, []string{"username"}},
		"NUL in password":   {credentials("bob", goodPassword+"\x00"), 422, []string{"password"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := s.post(t, "/users", c.body)
			p := got.problem(t)
			if got.status != c.status || !equal(fields(p.Errors), c.fields) {
				t.Errorf("got %d %s, want %d naming %v", got.status, got.body, c.status, c.fields)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	got := s.post(t, "/login", credentials("ALICE", goodPassword), header("X-Forwarded-For", "203.0.113.7"), header("X-Request-Id", "req-7"))
	var body map[string]string
	must(t, json.Unmarshal([]byte(got.body), &body))
	if got.status != http.StatusOK || len(body) != 1 || body["token"] == "" {
		t.Fatalf("POST /login: %d %s", got.status, got.body)
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control = %q", got.header.Get("Cache-Control"))
	}
	if !equal(s.promotions.placed, []string{id}) {
		t.Errorf("placed %v, want %v", s.promotions.placed, id)
	}
	attempts := s.store.Attempts()
	if len(attempts) != 1 || attempts[0].IP != "203.0.113.7" || attempts[0].RequestID != "req-7" {
		t.Errorf("audit %+v", attempts)
	}
	if own := s.get(t, "/users/"+id, bearer(body["token"])); own.status != http.StatusOK {
		t.Errorf("the token does not open the account: %d %s", own.status, own.body)
	}
}

func TestLoginRefusalsAreTheSame(t *testing.T) {
	s := start(t)
	s.register(t, "alice")
	wrong := s.post(t, "/login", credentials("alice", "not the password"))
	cases := map[string]string{
		"unknown user":        credentials("nobody", goodPassword),
		"name nobody can use": credentials("a", goodPassword),
		"password too short":  credentials("alice", "x"),
		"NUL":                 credentials("alice\x00", goodPassword),
	}
	if wrong.status != http.StatusUnauthorized || wrong.header.Get("WWW-Authenticate") != `Bearer realm="earlybird"` {
		t.Fatalf("wrong password: %d %v", wrong.status, wrong.header)
	}
	wrong.problem(t)
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			got := s.post(t, "/login", body)
			if got.status != wrong.status || got.body != wrong.body {
				t.Errorf("%d %s differs from a wrong password: %s", got.status, got.body, wrong.body)
			}
		})
	}
	if len(s.promotions.placed) != 0 {
		t.Errorf("a refused login is counted: %v", s.promotions.placed)
	}
}

// TestLoginIsPlaced: every login is placed before it is answered, and answered
// whatever became of its place. Checked by placing after a failed login, and with
// a one-time password too.
func TestLoginIsPlaced(t *testing.T) {
	at := campaign.Place{Epoch: 1<<20 + 1, Seq: 17}
	for name, c := range map[string]struct {
		placement campaign.Placement
		header    string
	}{
		"pending": {campaign.Placement{Status: campaign.StatusPending, Place: at}, `status=pending, place="1048577:17"`},
		"full":    {campaign.Placement{Status: campaign.StatusFull}, "status=full"},
		"none":    {campaign.Placement{Status: campaign.StatusNone}, "status=none"},
		"paused":  {campaign.Placement{Status: campaign.StatusPaused}, "status=paused"},
		"ended":   {campaign.Placement{Status: campaign.StatusEnded}, "status=ended"},
		"retry":   {campaign.Placement{Status: campaign.StatusRetry}, "status=retry"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			id := s.register(t, "alice")
			if len(s.promotions.placed) > 0 {
				t.Fatal("the registration was placed")
			}
			s.promotions.placement = c.placement
			got := s.post(t, "/login", credentials("alice", goodPassword))
			if got.status != 200 || got.header.Get("Earlybird") != c.header || !strings.Contains(got.body, `"token"`) {
				t.Errorf("%d %q %s, want 200 with %q and a token", got.status, got.header.Get("Earlybird"), got.body, c.header)
			}
			if !equal(s.promotions.placed, []string{id}) {
				t.Errorf("placed %v, want %s once", s.promotions.placed, id)
			}
		})
	}
}

// TestOnlyLoginsArePlaced: neither a failed login nor one with a one-time
// password takes a place.
func TestOnlyLoginsArePlaced(t *testing.T) {
	for name, c := range map[string]struct {
		prepare  func(s *service)
		password string
		status   int
		header   string
	}{
		"wrong password": {func(*service) {}, "not the password", 401, ""},
		"disabled": {func(s *service) {
			s.changeCredential(t, "alice", func(c *account.Credential) { c.Disabled = true })
		}, goodPassword, 401, ""},
		"busy":       {func(s *service) { s.hasher.full = &password.BusyError{RetryAfter: time.Second} }, goodPassword, 503, ""},
		"store down": {func(s *service) { s.hasher.err = unavailable.New("mongodb", "find", errors.New("down")) }, goodPassword, 503, ""},
		"one-time password": {func(s *service) {
			s.changeCredential(t, "alice", func(c *account.Credential) { c.OneTimeUntil = s.now.Add(time.Hour).UnixMilli() })
		}, goodPassword, 200, "status=none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.register(t, "alice")
			s.promotions.placement = campaign.Placement{Status: campaign.StatusPending}
			c.prepare(s)
			got := s.post(t, "/login", credentials("alice", c.password))
			if got.status != c.status || got.header.Get("Earlybird") != c.header {
				t.Errorf("%d %q %s, want %d with %q", got.status, got.header.Get("Earlybird"), got.body, c.status, c.header)
			}
			if len(s.promotions.placed) > 0 {
				t.Errorf("placed %v, want nobody", s.promotions.placed)
			}
		})
	}
}

// changeCredential changes what the store has of an account.
func (s *service) changeCredential(t *testing.T, username string, change func(*account.Credential)) {
	t.Helper()
	old, err := s.store.Credential(t.Context(), username)
	must(t, err)
	next := old
	change(&next)
	must(t, s.store.ReplaceCredential(t.Context(), old, next))
}

func TestUser(t *testing.T) {
	s := start(t)
	alice, bob := s.register(t, "alice"), s.register(t, "bob")
	own := s.get(t, "/users/"+alice+"?x=%00&y", bearer(s.token(t, alice)))
	if want := fmt.Sprintf(`{"username":"alice","id":%q}`, alice); own.status != http.StatusOK || strings.TrimSpace(own.body) != want {
		t.Errorf("own account: %d %s, want %s", own.status, own.body, want)
	}
	if h := own.header; h.Get("Cache-Control") != "private, no-cache" || h.Get("Vary") != "Authorization" {
		t.Errorf("Cache-Control %q, Vary %q", h.Get("Cache-Control"), h.Get("Vary"))
	}
	other := s.get(t, "/users/"+bob, bearer(s.token(t, alice)))
	missing := s.get(t, "/users/NOBODY", bearer(s.token(t, alice)))
	if other.status != http.StatusNotFound || missing.status != http.StatusNotFound || other.body != missing.body {
		t.Errorf("somebody else's %d %s and nobody's %d %s must be the same 404", other.status, other.body, missing.status, missing.body)
	}
	other.problem(t)
	if gone := s.get(t, "/users/GONE", bearer(s.token(t, "GONE"))); gone.status != http.StatusNotFound {
		t.Errorf("an account that is no more: %d", gone.status)
	}
}

// TestMe: me is the token's own user, and nobody else's.
func TestMe(t *testing.T) {
	s := start(t)
	alice, bob := s.register(t, "alice"), s.register(t, "bob")
	for name, id := range map[string]string{"alice": alice, "bob": bob} {
		byID, byMe := s.get(t, "/users/"+id, bearer(s.token(t, id))), s.get(t, "/users/me", bearer(s.token(t, id)))
		if byMe.status != 200 || byMe.body != byID.body || byMe.header.Get("ETag") != byID.header.Get("ETag") {
			t.Errorf("GET /users/me of %s: %d %s, want as by id: %s", name, byMe.status, byMe.body, byID.body)
		}
	}
	if got := s.get(t, "/users/me"); got.status != 401 {
		t.Errorf("GET /users/me without a token: %d", got.status)
	}
	if got := s.get(t, "/users/ME", bearer(s.token(t, alice))); got.status != 404 {
		t.Errorf("GET /users/ME: %d, want 404", got.status)
	}
	raw := s.token(t, alice)
	s.change(t, "me", raw, passwords("not it, sorry", newPassword), 422).problem(t)
	s.change(t, "me", raw, passwords(goodPassword, newPassword), 204)
	s.login(t, "alice", newPassword)
	s.login(t, "bob", goodPassword)
	s.wantToken(t, "me", raw, 401)
}

func TestPromotion(t *testing.T) {
	s := start(t)
	held := campaign.Promotion{
		Grant: campaign.Grant{Campaign: 3, UserID: "U", Rank: 42, GrantedAt: time.Date(2026, 11, 22, 8, 59, 0, 123e6, time.UTC)},
		Name:  "Early Bird", Description: "First 100", Discount: 30,
	}
	cases := map[string]struct {
		held   campaign.Promotion
		err    error
		status int
	}{
		"granted":    {held, nil, 200},
		"not told":   {campaign.Promotion{}, unavailable.New("campaign log", "read", errors.New("down")), 503},
		"too slow":   {campaign.Promotion{}, fmt.Errorf("read: %w", context.DeadlineExceeded), 503},
		"unexpected": {campaign.Promotion{}, errors.New("SECRET detail"), 500},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s.promotions.held, s.promotions.heldErr = c.held, c.err
			got := s.get(t, "/promotion", bearer(s.token(t, "U")))
			if got.status != c.status || got.header.Get("Cache-Control") != "no-store" && got.status == 200 {
				t.Fatalf("%d %s, want %d", got.status, got.body, c.status)
			}
			if c.status == 200 {
				want := `{"name":"Early Bird","discount":30,"description":"First 100","campaign":"3","rank":42,"granted_at":"2026-11-22T08:59:00.123Z"}`
				if strings.TrimSpace(got.body) != want {
					t.Errorf("body %s, want %s", got.body, want)
				}
				return
			}
			got.problem(t)
			if (got.header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("Retry-After = %q with %d", got.header.Get("Retry-After"), got.status)
			}
			if strings.Contains(got.body, "SECRET") {
				t.Errorf("an internal error is told: %s", got.body)
			}
		})
	}
}

// TestNoPromotion: who holds no grant is told why, and where they are in line.
func TestNoPromotion(t *testing.T) {
	for name, c := range map[string]struct {
		standing string
		position int64
		says     string
	}{
		"no campaign":           {"none", 0, "no campaign"},
		"room is left":          {"open", 0, "log in again"},
		"on the waiting list":   {"full", 117, "when there are more"},
		"past the waiting list": {"full", 0, "are taken"},
		"paused, no place":      {"paused", 0, "paused"},
		"paused, in line":       {"paused", 117, "paused"},
		"ended":                 {"ended", 117, "has ended"},
		"disqualified":          {"disqualified", 3, "withdrawn"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.promotions.heldErr = fmt.Errorf("user U: %w", &campaign.NoGrantError{Standing: c.standing, Position: c.position})
			got := s.get(t, "/promotion", bearer(s.token(t, "U")))
			p := got.problem(t)
			if got.status != 404 || p.Type != "tag:earlybird.example,2026:no-grant" || p.Standing != c.standing || p.Position != c.position {
				t.Errorf("%d %s, want 404 with standing %s and position %d", got.status, got.body, c.standing, c.position)
			}
			if !strings.Contains(p.Detail, c.says) {
				t.Errorf("detail %q does not say %q", p.Detail, c.says)
			}
			if has := strings.Contains(got.body, `"position"`); has != (c.position > 0) {
				t.Errorf("body %s: position is there: %t", got.body, has)
			}
		})
	}
}

func TestBearer(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	good := s.token(t, id)
	s.now = s.now.Add(-2 * token.Lifetime)
	old := s.token(t, id)
	s.now = s.now.Add(2 * token.Lifetime)
	ended := s.token(t, id)
	s.logout(t, ended, http.StatusNoContent)
	cases := map[string]struct {
		options []option
		status  int
		says    string // in WWW-Authenticate
	}{
		"none":           {nil, 401, `Bearer realm="earlybird"`},
		"other scheme":   {[]option{header("Authorization", "Basic YTpi")}, 401, `Bearer realm="earlybird"`},
		"expired":        {[]option{bearer(old)}, 401, `Bearer realm="earlybird", error="invalid_token", error_description="The token has expired"`},
		"altered":        {[]option{bearer(good[:len(good)-8] + "AAAAAAAA")}, 401, `error="invalid_token"`},
		"junk":           {[]option{bearer("junk")}, 401, `error="invalid_token"`},
		"no token":       {[]option{header("Authorization", "Bearer")}, 401, `error="invalid_token"`},
		"two lines":      {[]option{bearer(good), bearer(good)}, 400, `error="invalid_request"`},
		"lower case":     {[]option{header("Authorization", "bearer "+good)}, 200, ""},
		"logged out":     {[]option{bearer(ended)}, 401, `Bearer realm="earlybird", error="invalid_token", error_description="The token was revoked"`},
		"forged headers": {[]option{header("Earlybird", `user="`+id+`"`)}, 401, `Bearer realm="earlybird"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/users/" + id, "/promotion"} {
				got := s.get(t, path, c.options...)
				if got.status != c.status {
					t.Fatalf("GET %s: %d %s, want %d", path, got.status, got.body, c.status)
				}
				challenge := got.header.Get("WWW-Authenticate")
				if !strings.Contains(challenge, c.says) || (!strings.Contains(c.says, "error") && strings.Contains(challenge, "error")) {
					t.Errorf("WWW-Authenticate = %q, want %q", challenge, c.says)
				}
				if c.status != 200 {
					got.problem(t)
				}
			}
		})
	}
	s.keys.none = true
	if got := s.get(t, "/promotion", bearer(good)); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("without keys: %d %s, want 503 with Retry-After", got.status, got.body)
	}
}

func TestKeys(t *testing.T) {
	s := start(t)
	got := s.get(t, "/.well-known/jwks.json")
	if got.status != 200 || got.header.Get("Content-Type") != "application/jwk-set+json" || !strings.Contains(got.header.Get("Cache-Control"), "max-age") {
		t.Errorf("%d %v", got.status, got.header)
	}
	if _, err := token.ParseKeySet([]byte(got.body)); err != nil {
		t.Errorf("key set %s: %v", got.body, err)
	}
	if strings.Contains(got.body, `"d"`) {
		t.Error("a private key is published")
	}
	s.keys.none = true
	if got := s.get(t, "/.well-known/jwks.json"); got.status != 503 {
		t.Errorf("without keys: %d", got.status)
	}
}

// While the queue for hashing is full, logins and registrations are answered with
// the time after which to come back.
func TestSaturated(t *testing.T) {
	s := start(t)
	s.hasher.full = &password.BusyError{RetryAfter: 1500 * time.Millisecond}
	for _, path := range []string{"/users", "/login"} {
		got := s.post(t, path, credentials("alice", goodPassword), header("X-Request-Id", "r"))
		if got.status != 503 || got.header.Get("Retry-After") != "2" || got.problem(t).Type != "tag:earlybird.example,2026:busy" {
			t.Errorf("POST %s: %d %s, Retry-After %q", path, got.status, got.body, got.header.Get("Retry-After"))
		}
	}
	want := account.Attempt{At: s.now, Outcome: account.OutcomeBusy, IP: "127.0.0.1", RequestID: "r"}
	if all := s.store.Attempts(); len(all) != 1 || all[0] != want {
		t.Errorf("audit %+v, want the login alone: %+v", all, want)
	}
}

func TestBeforeItIsOpened(t *testing.T) {
	s := startClosed(t)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/users", credentials("alice", goodPassword)},
		{"POST", "/login", credentials("alice", goodPassword)},
		{"GET", "/users/x", ""},
		{"PUT", "/users/x/password", passwords("a", "b")},
		{"POST", "/logout", ""},
		{"GET", "/promotion", ""},
		{"GET", "/.well-known/jwks.json", ""},
	} {
		got := s.do(t, c.method, c.path, strings.NewReader(c.body), header("Content-Type", "application/json"))
		if got.status != 503 || got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s, want 503 with Retry-After", c.method, c.path, got.status, got.body)
		}
		got.problem(t)
	}
	if got := s.get(t, "/livez"); got.status != 200 {
		t.Errorf("GET /livez: %d", got.status)
	}
}

func TestHealth(t *testing.T) {
	down := errors.New("connection refused at mongodb://user:SECRET@host")
	cases := map[string]struct {
		down   []string
		stop   bool
		status int
		body   string
	}{
		"all up":       {nil, false, 200, `{"status":"ready","checks":{"keys":"up","mongodb":"up","redis":"up"}}`},
		"mongodb down": {[]string{"mongodb"}, false, 503, `{"status":"unready","checks":{"keys":"up","mongodb":"down","redis":"up"}}`},
		"redis down":   {[]string{"redis"}, false, 200, `{"status":"degraded","checks":{"keys":"up","mongodb":"up","redis":"down"}}`},
		"both down":    {[]string{"mongodb", "redis"}, false, 503, `{"status":"unready","checks":{"keys":"up","mongodb":"down","redis":"down"}}`},
		"stopping":     {nil, true, 503, `{"status":"stopping","checks":{"keys":"up","mongodb":"up","redis":"up"}}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for _, dependency := range c.down {
				*s.checks[dependency] = down
			}
			if c.stop {
				s.health.Stop()
			}
			got := s.get(t, "/readyz")
			if got.status != c.status || strings.TrimSpace(got.body) != c.body {
				t.Errorf("%d %s, want %d %s", got.status, got.body, c.status, c.body)
			}
			if live := s.get(t, "/livez"); live.status != 200 {
				t.Errorf("GET /livez: %d", live.status)
			}
		})
	}
}

// TestServing: what a gateway asks does not hang on the stores, once all was
// there.
func TestServing(t *testing.T) {
	s := start(t)
	answers := func(status int, said string) {
		t.Helper()
		got := s.get(t, "/servingz")
		if want := `{"status":"` + said + `"}`; got.status != status || strings.TrimSpace(got.body) != want {
			t.Errorf("GET /servingz: %d %s, want %d %s", got.status, got.body, status, want)
		}
	}
	mongodb := s.checks["mongodb"]
	*mongodb = errors.New("not there yet")
	answers(503, "starting")
	*mongodb = nil
	answers(200, "serving")
	*mongodb = errors.New("gone")
	answers(200, "serving")
	s.health.Stop()
	answers(503, "stopping")
}

// A dependency outside the process is up for 10 s after each answer, however
// long that took.
func TestRemoteDependencies(t *testing.T) {
	var now atomic.Int64 // seconds
	asked, answer := make(chan struct{}), make(chan error)
	health := httpapi.NewHealth(httpapi.HealthConfig{
		Every: time.Millisecond, Now: func() time.Time { return time.Unix(now.Load(), 0) },
		Checks: []httpapi.Check{{Name: "mongodb", Remote: true, Probe: func(ctx context.Context) error {
			select {
			case asked <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}}},
	})
	api, err := httpapi.New(httpapi.Config{Health: health})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		health.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() { stop(); <-done })
	ready := func() int {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code
	}
	steps := []struct {
		name   string
		at     int64
		answer error
		want   int
	}{
		{"no answer yet", 0, errors.New("refused"), 503},
		{"the first answer", 1, nil, 200},
		{"a slow one is on its way", 11, nil, 200},
		{"it has come", 20, nil, 200},
		{"none for 10 s", 30, errors.New("refused"), 200},
		{"none for longer", 31, errors.New("refused"), 503},
		{"and back", 32, nil, 200},
	}
	<-asked
	for _, step := range steps {
		now.Store(step.at)
		if step.answer != nil || step.name == "a slow one is on its way" {
			if got := ready(); got != step.want {
				t.Errorf("%s: %d, want %d", step.name, got, step.want)
			}
		}
		answer <- step.answer
		<-asked // so the answer has been noted
		if got := ready(); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
}

// TestStrangersAreWarnedOf: a gateway outside --trusted-proxies is worth a line
// a minute.
func TestStrangersAreWarnedOf(t *testing.T) {
	gateway, trusted, client := "192.0.2.7:4711", "127.0.0.1:4711", "203.0.113.9"
	tests := []struct {
		name, peer, forwarded string
		minutes               int
		proxies               []netip.Prefix
		want                  int
	}{
		{"a gateway that is not trusted", gateway, client, 1, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 1},
		{"for three minutes", gateway, client, 3, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 3},
		{"one that is trusted", trusted, client, 3, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 0},
		{"a client of its own", gateway, "", 3, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 0},
		{"nobody is trusted", gateway, client, 3, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log, now := &testserver.Output{}, time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
			api, err := httpapi.New(httpapi.Config{
				TrustedProxies: tt.proxies, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			for range tt.minutes {
				for range 60 {
					r := httptest.NewRequest("GET", "/livez", nil)
					r.RemoteAddr = tt.peer
					if tt.forwarded != "" {
						r.Header.Set("X-Forwarded-For", tt.forwarded)
					}
					api.ServeHTTP(httptest.NewRecorder(), r)
					now = now.Add(time.Second)
				}
			}
			said := log.String()
			if got := strings.Count(said, "X-Forwarded-For ignored"); got != tt.want {
				t.Errorf("warned %d times, want %d:\n%s", got, tt.want, said)
			}
			if tt.want > 0 && !strings.Contains(said, "peer=192.0.2.7") || strings.Contains(said, client) {
				t.Errorf("the warning must name the peer, and no client: %s", said)
			}
		})
	}
}

func equal(a, b []string) bool { return strings.Join(a, ",") == strings.Join(b, ",") }
