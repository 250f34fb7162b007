package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// passwords is a body for PUT /users/{id}/password.
func passwords(current, next string) string {
	body, err := json.Marshal(map[string]string{"current": current, "new": next})
	if err != nil {
		panic(err)
	}
	return string(body)
}

const newPassword = "another battery staple"

// logout logs out and returns the answer, whose status must be this.
func (s *service) logout(t testing.TB, raw string, status int) answer {
	t.Helper()
	got := s.do(t, http.MethodPost, "/logout", nil, bearer(raw))
	if got.status != status {
		t.Fatalf("logout: %d %s, want %d", got.status, got.body, status)
	}
	return got
}

// change changes a password and returns the answer, whose status must be this.
func (s *service) change(t testing.TB, id, raw, body string, status int) answer {
	t.Helper()
	got := s.do(t, http.MethodPut, "/users/"+id+"/password", strings.NewReader(body), bearer(raw), header("Content-Type", "application/json"))
	if got.status != status {
		t.Fatalf("change password: %d %s, want %d", got.status, got.body, status)
	}
	return got
}

// login logs in and returns the token.
func (s *service) login(t testing.TB, username, password string) string {
	t.Helper()
	got := s.post(t, "/login", credentials(username, password))
	if got.status != http.StatusOK {
		t.Fatalf("login: %d %s", got.status, got.body)
	}
	var body struct{ Token string }
	must(t, json.Unmarshal([]byte(got.body), &body))
	return body.Token
}

// wantToken checks whether a token of the user is good.
func (s *service) wantToken(t testing.TB, id, raw string, status int) {
	t.Helper()
	for _, path := range []string{"/users/" + id, "/promotion"} {
		if got := s.get(t, path, bearer(raw)); got.status != status {
			t.Errorf("GET %s: %d %s, want %d", path, got.status, got.body, status)
		}
	}
}

func TestLogout(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	one, two := s.login(t, "alice", goodPassword), s.login(t, "alice", goodPassword)
	got := s.logout(t, one, http.StatusNoContent)
	if got.body != "" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer %q %v, want no body, stored nowhere", got.body, got.header)
	}
	s.wantToken(t, id, one, http.StatusUnauthorized)
	s.wantToken(t, id, two, http.StatusOK)
	s.logout(t, one, http.StatusUnauthorized).problem(t)
	s.change(t, id, one, passwords(goodPassword, newPassword), http.StatusUnauthorized).problem(t)
	for jti, expires := range s.revoked.expires {
		if jti == "" || !expires.Equal(s.now.Add(token.Lifetime)) {
			t.Errorf("token %q was ended until %s, want its jti and exp", jti, expires)
		}
	}
}

func TestLogoutRefusals(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	good := s.login(t, "alice", goodPassword)
	if got := s.do(t, http.MethodPost, "/logout", nil); got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer realm="earlybird"` {
		t.Errorf("without a token: %d %v", got.status, got.header)
	}
	if got := s.get(t, "/logout", bearer(good)); got.status != 405 || got.header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("GET /logout: %d, Allow %q", got.status, got.header.Get("Allow"))
	}
	s.revoked.err = unavailable.New("mongodb", "insert", errors.New("down"))
	if got := s.logout(t, good, 503); got.header.Get("Retry-After") == "" || strings.HasSuffix(got.problem(t).Type, "pending") {
		t.Errorf("without MongoDB: %v %s, want 503 with Retry-After, and nothing done", got.header, got.body)
	}
	s.revoked.err = nil
	s.wantToken(t, id, good, 200)
}

// A logout that the edges could not be told of may be repeated, and only that.
func TestLogoutPending(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	raw := s.login(t, "alice", goodPassword)
	s.revoked.down = true
	for range 2 {
		got := s.logout(t, raw, 503)
		if got.header.Get("Retry-After") == "" || !strings.HasSuffix(got.problem(t).Type, ":pending") {
			t.Errorf("logout without Redis: %v %s, want Retry-After and the type pending", got.header, got.body)
		}
		s.wantToken(t, id, raw, 401)
	}
	s.revoked.down = false
	s.logout(t, raw, http.StatusNoContent)
	s.logout(t, raw, 401)
}

func TestNotReady(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	raw := s.login(t, "alice", goodPassword)
	s.revoked.notReady = true
	s.wantToken(t, id, raw, 503)
	if got := s.logout(t, raw, 503); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.change(t, id, raw, passwords(goodPassword, newPassword), 503)
	s.login(t, "alice", goodPassword) // a login needs no token
}

func TestChangePassword(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	one, two := s.login(t, "alice", goodPassword), s.login(t, "alice", goodPassword)
	got := s.change(t, id, one, passwords(goodPassword, newPassword), http.StatusNoContent)
	if got.body != "" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer %q %v, want no body, stored nowhere", got.body, got.header)
	}
	s.wantToken(t, id, one, 401)
	s.wantToken(t, id, two, 401)
	if got := s.post(t, "/login", credentials("alice", goodPassword)); got.status != 401 {
		t.Errorf("login with the old password: %d", got.status)
	}
	// The clock stands still: the new token is of the same second.
	s.wantToken(t, id, s.login(t, "alice", newPassword), 200)
}

func TestChangePasswordRefusals(t *testing.T) {
	s := start(t)
	alice, bob := s.register(t, "alice"), s.register(t, "bob")
	raw := s.login(t, "alice", goodPassword)
	for name, c := range map[string]struct {
		id, body string
		status   int
		field    string
	}{
		"wrong current":   {alice, passwords("not it, sorry", newPassword), 422, "current"},
		"short new":       {alice, passwords(goodPassword, "short"), 422, "new"},
		"new is current":  {alice, passwords(goodPassword, goodPassword), 422, "new"},
		"empty new":       {alice, passwords(goodPassword, ""), 422, "new"},
		"empty current":   {alice, passwords("", newPassword), 422, "current"},
		"missing current": {alice, `{"new":"` + newPassword + `"}`, 422, "current"},
		"another member":  {alice, `{"current":"a","new":"b","admin":true}`, 422, "admin"},
		"not a string":    {alice, `{"current":"a","new":12345678}`, 422, "new"},
		"twice":           {alice, `{"current":"a","new":"b","new":"c"}`, 400, ""},
		"not JSON":        {alice, `current=a`, 400, ""},
		"somebody else":   {bob, passwords(goodPassword, newPassword), 404, ""},
		"nobody":          {"NOBODY", passwords(goodPassword, newPassword), 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.change(t, c.id, raw, c.body, c.status)
			p := got.problem(t)
			if (len(p.Errors) == 1) != (c.field != "") || (c.field != "" && p.Errors[0].Field != c.field) {
				t.Errorf("errors %+v, want one of %q", p.Errors, c.field)
			}
			for _, secret := range []string{goodPassword, newPassword, "not it, sorry"} {
				if strings.Contains(got.body, secret) || strings.Contains(s.logs.String(), secret) {
					t.Errorf("%q is repeated: %s", secret, got.body)
				}
			}
		})
	}
	s.wantToken(t, alice, raw, 200)
	s.login(t, "alice", goodPassword)
	guess := false
	for _, a := range s.store.Attempts() {
		guess = guess || a.Outcome == account.OutcomeWrongPassword && a.UserID == alice && a.IP == "127.0.0.1" && a.RequestID != ""
	}
	if !guess {
		t.Error("a wrong guess at the current password is not in the audit")
	}
}

func TestChangePasswordPending(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	raw := s.login(t, "alice", goodPassword)
	s.revoked.down = true
	got := s.change(t, id, raw, passwords(goodPassword, newPassword), 503)
	if got.header.Get("Retry-After") == "" || !strings.HasSuffix(got.problem(t).Type, ":pending") {
		t.Errorf("change without Redis: %v %s, want Retry-After and the type pending", got.header, got.body)
	}
	s.wantToken(t, id, raw, 401)
	s.wantToken(t, id, s.login(t, "alice", newPassword), 200)
}
