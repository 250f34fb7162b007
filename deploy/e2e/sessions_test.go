package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// sessions: how a token ends before it expires.
func (s *stack) sessions(t *testing.T) {
	t.Run("logout", s.logout)
	t.Run("change of password", s.changeOfPassword)
	t.Run("operator", s.operator)
}

// dies insists that a token is refused within a second by the gateway itself:
// the identity service, which knows at once, would add its Referrer-Policy.
func (s *stack) dies(t *testing.T, p *person, token string) {
	t.Helper()
	deadline := time.Now().Add(time.Second)
	for {
		a, err := s.once(http.MethodGet, "/users/"+p.id, bearer(token), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.status == http.StatusUnauthorized && a.header.Get("Referrer-Policy") == "" {
			wantProblem(t, "dead token", a, http.StatusUnauthorized)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a second the gateway answers %v", a)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// lives insists that a token is good.
func (s *stack) lives(t *testing.T, p *person, token string) {
	t.Helper()
	a := s.mustDo(t, http.MethodGet, "/users/"+p.id, bearer(token), "")
	want(t, a, http.StatusOK, map[string]any{"username": p.name, "id": p.id})
}

// entered is a person with two sessions; the later token is p.token.
func (s *stack) entered(t *testing.T, name string) (p *person, first string) {
	t.Helper()
	p = newPerson(name)
	s.enter(t, p)
	first = p.token
	if err := s.login(p); err != nil {
		t.Fatal(err)
	}
	s.lives(t, p, first)
	s.lives(t, p, p.token)
	return p, first
}

func (s *stack) logout(t *testing.T) {
	p, first := s.entered(t, "erin")
	a := s.mustDo(t, http.MethodPost, "/logout", bearer(first), "")
	if a.status != http.StatusNoContent || len(a.body) > 0 {
		t.Fatalf("logout: %v, want 204 without a body", a)
	}
	s.dies(t, p, first)
	s.lives(t, p, p.token)
	wantProblem(t, "second logout", s.mustDo(t, http.MethodPost, "/logout", bearer(first), ""), http.StatusUnauthorized)
	wantProblem(t, "logout without a token", s.mustDo(t, http.MethodPost, "/logout", nil, ""), http.StatusUnauthorized)
	wantProblem(t, "GET /logout", s.mustDo(t, http.MethodGet, "/logout", bearer(p.token), ""), http.StatusMethodNotAllowed)
}

func (s *stack) change(t *testing.T, id, token, current, next string) answer {
	t.Helper()
	body, err := json.Marshal(map[string]string{"current": current, "new": next})
	if err != nil {
		t.Fatal(err)
	}
	return s.mustDo(t, http.MethodPut, "/users/"+id+"/password", bearer(token), string(body))
}

func (s *stack) changeOfPassword(t *testing.T) {
	p, first := s.entered(t, "frank")
	other := newPerson("grace")
	s.enter(t, other)
	const next = "a different battery staple"
	for name, c := range map[string]struct {
		id, token, current, next string
		status                   int
		field                    string
	}{
		"wrong current":   {p.id, first, "not the password", next, 422, "current"},
		"short new":       {p.id, first, p.password, "short", 422, "new"},
		"somebody else's": {other.id, first, p.password, next, 404, ""},
		"nobody's":        {"NOSUCHUSER", first, p.password, next, 404, ""},
		"no token":        {p.id, "garbage", p.password, next, 401, ""},
	} {
		a := s.change(t, c.id, c.token, c.current, c.next)
		wantProblem(t, name, a, c.status)
		if c.field != "" && !strings.HasPrefix(a.text("detail"), c.field+": ") {
			t.Errorf("%s: %s does not name %s", name, a.body, c.field)
		}
	}
	s.lives(t, p, first)

	if a := s.change(t, p.id, first, p.password, next); a.status != http.StatusNoContent || len(a.body) > 0 {
		t.Fatalf("change: %v, want 204 without a body", a)
	}
	old := *p
	old.password, p.password = p.password, next
	// At once, so in the same second or the next as what died.
	if err := s.login(p); err != nil {
		t.Fatal(err)
	}
	s.dies(t, p, first)
	s.dies(t, p, old.token)
	s.lives(t, p, p.token)
	wantProblem(t, "old password", s.mustDo(t, http.MethodPost, "/login", nil, string(old.credentials())), http.StatusUnauthorized)
	s.lives(t, other, other.token)
}

// operator: what the command line does to somebody's sessions.
func (s *stack) operator(t *testing.T) {
	p, first := s.entered(t, "heidi")
	command := func(name string) {
		t.Helper()
		if _, err := s.admin(t, "user", name, p.name, "--yes"); err != nil {
			t.Fatal(err)
		}
	}
	command("revoke")
	s.dies(t, p, first)
	s.dies(t, p, p.token)
	if err := s.login(p); err != nil {
		t.Fatal(err)
	}
	s.lives(t, p, p.token)

	command("disable")
	s.dies(t, p, p.token)
	wantProblem(t, "login of a disabled user", s.mustDo(t, http.MethodPost, "/login", nil, string(p.credentials())), http.StatusUnauthorized)
	command("enable")
	s.dies(t, p, p.token)
	if err := s.login(p); err != nil {
		t.Fatal(err)
	}
	s.lives(t, p, p.token)
}
