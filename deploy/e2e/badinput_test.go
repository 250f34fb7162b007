package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// secret stands for something that no answer may repeat.
const secret = "s3cret-that-nobody-may-see-again"

// badInput: whatever is sent, the answer is the 4xx of the contract as
// problem+json, repeats nothing, and nothing has changed afterwards.
func (s *stack) badInput(t *testing.T) {
	json := http.Header{"Content-Type": {"application/json"}}
	valid := string(newPerson("valid").credentials())
	big := fmt.Sprintf(`{"username":"big","password":%q}`, strings.Repeat("x", 20<<10))
	cases := []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
	}{
		{"not JSON", "POST", "/users", json, `username=a&password=` + secret, 400},
		{"cut off", "POST", "/users", json, `{"username":"` + secret, 400},
		{"empty body", "POST", "/users", json, ``, 400},
		{"something after the body", "POST", "/login", json, valid + `{}`, 400},
		{"invalid UTF-8", "POST", "/users", json, "{\"username\":\"a\xffb\",\"password\":\"" + secret + "\"}", 400},
		{"duplicate key", "POST", "/users", json, `{"username":"abc","username":"abd","password":"` + secret + `"}`, 400},
		{"array", "POST", "/users", json, `["` + secret + `"]`, 422},
		{"wrong type", "POST", "/users", json, `{"username":1234567,"password":"` + secret + `"}`, 422},
		{"null", "POST", "/login", json, `{"username":null,"password":"` + secret + `"}`, 422},
		{"unknown field", "POST", "/users", json, `{"username":"abc","password":"` + secret + `","admin":true}`, 422},
		{"missing field", "POST", "/users", json, `{"username":"abc"}`, 422},
		{"empty username", "POST", "/users", json, `{"username":"","password":"` + secret + `"}`, 422},
		{"short password", "POST", "/users", json, `{"username":"abc","password":"short"}`, 422},
		{"NUL", "POST", "/users", json, `{"username":"a\u0000bc","password":"` + secret + `"}`, 422},
		{"two names in one", "POST", "/users", json, `{"username":"two names","password":"` + secret + `"}`, 422},
		{"long username", "POST", "/users", json, `{"username":"` + strings.Repeat("a", 65) + `","password":"` + secret + `"}`, 422},
		{"over 16 KiB", "POST", "/users", json, big, 413},
		{"form", "POST", "/login", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, `username=a&password=` + secret, 415},
		{"text", "POST", "/users", http.Header{"Content-Type": {"text/plain"}}, valid, 415},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := s.mustDo(t, c.method, c.path, c.header, c.body)
			wantProblem(t, c.name, a, c.status)
			if strings.Contains(string(a.body), secret) {
				t.Errorf("the answer repeats what was sent: %s", a.body)
			}
		})
	}
	t.Run("10 MB", func(t *testing.T) {
		// Kong's own limit answers, in Kong's own words; a client that is still
		// sending may see the connection close instead.
		a, err := s.do("POST", "/users", json, []byte(`{"username":"`+strings.Repeat("a", 10<<20)))
		if err == nil && a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("answer %v, want 413", a)
		}
	})
	t.Run("200 headers", func(t *testing.T) {
		header := http.Header{}
		for i := range 200 {
			header.Set(fmt.Sprintf("X-Flood-%d", i), "x")
		}
		if a := s.mustDo(t, "GET", "/promotion", header, ""); a.status < 400 || a.status > 499 {
			t.Errorf("answer %v, want a 4xx", a)
		}
	})
	t.Run("taken", func(t *testing.T) {
		p := newPerson("taken")
		if err := s.register(p); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{p.name, strings.ToUpper(p.name)} {
			a := s.mustDo(t, "POST", "/users", json, fmt.Sprintf(`{"username":%q,"password":"another password"}`, name))
			wantProblem(t, name, a, http.StatusConflict)
		}
	})
	t.Run("no such route", func(t *testing.T) {
		for _, path := range []string{"/", "/nothing", "/livez", "/readyz", "/servingz", "/users/../livez"} {
			if a := s.mustDo(t, "GET", path, nil, ""); a.status != http.StatusNotFound {
				t.Errorf("GET %s: answer %v, want 404", path, a)
			}
		}
	})
	t.Run("wrong method", func(t *testing.T) {
		for path, method := range map[string]string{"/users": "DELETE", "/login": "GET", "/promotion": "POST"} {
			if a := s.mustDo(t, method, path, nil, ""); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: answer %v, want 404 or 405", method, path, a)
			}
		}
	})
	t.Run("the gateway still serves", func(t *testing.T) { s.enter(t, newPerson("after")) })
}
