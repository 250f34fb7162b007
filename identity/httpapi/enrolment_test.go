package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/account/enrolment"
)

func TestRegisterWithCode(t *testing.T) {
	s := startWithCodes(t)
	code := s.code(t)
	mistyped := code[:len(code)-1] + "0"
	if mistyped == code {
		mistyped = code[:len(code)-1] + "1"
	}
	expired := s.code(t)
	s.register(t, "taken")
	const doesNotWork = "code: does not work: it is unknown, used, expired or revoked; ask for a new one"
	for _, tt := range []struct {
		name, body string
		status     int
		detail     string
	}{
		{"no code", credentials("alice", goodPassword), 422, "code: is required: the enrolment code that you were sent, in any case, with or without dashes"},
		{"mistyped", enrolling("alice", goodPassword, mistyped), 422, "code: has a typing error; compare it with what you were sent"},
		{"unknown", enrolling("alice", goodPassword, enrolment.NewCode().String()), 422, doesNotWork},
		{"unknown, the name is taken", enrolling("taken", goodPassword, enrolment.NewCode().String()), 422, doesNotWork},
		{"taken", enrolling("taken", goodPassword, code), 409, "username: another account has this name; choose another one"},
		{"short password and mistyped", enrolling("alice", "short", mistyped), 422, "password: must have 8 to 128 characters (and 1 more)"},
		{"good, as it is typed", enrolling("alice", goodPassword, strings.ToLower(strings.ReplaceAll(code, "-", ""))), 201, ""},
		{"used", enrolling("bob", goodPassword, code), 422, doesNotWork},
	} {
		got := s.post(t, "/users", tt.body)
		if got.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, got.status, got.body, tt.status)
			continue
		}
		if got.status != http.StatusCreated {
			if p := got.problem(t); p.Detail != tt.detail {
				t.Errorf("%s: %q, want %q", tt.name, p.Detail, tt.detail)
			}
		}
	}
	s.now = s.now.AddDate(0, 0, 1)
	if got := s.post(t, "/users", enrolling("bob", goodPassword, expired)); got.status != 422 || got.problem(t).Detail != doesNotWork {
		t.Errorf("expired: %d %s", got.status, got.body)
	}
	logs := s.logs.String()
	for _, each := range []string{code, expired} {
		for _, form := range []string{each, strings.ReplaceAll(each, "-", ""), strings.ToLower(each)} {
			if strings.Contains(logs, form) {
				t.Errorf("the log has a code: %s", logs)
			}
		}
	}
	if !strings.Contains(logs, "/users") {
		t.Error("no request was logged")
	}
}

// Where anybody may register a code is a member that is not known, and is not
// described.
func TestRegisterWithCodeWhereItIsOpen(t *testing.T) {
	s := start(t)
	got := s.post(t, "/users", enrolling("alice", goodPassword, enrolment.NewCode().String()))
	if got.status != 422 || got.problem(t).Detail != "code: is unknown; allowed: username and password" {
		t.Errorf("= %d %s", got.status, got.body)
	}
	schema := `"#/components/schemas/Registration"`
	for name, text := range map[string]string{"open": s.get(t, "/openapi.json").body, "code": startWithCodes(t).get(t, "/openapi.json").body} {
		if strings.Contains(text, `"code"`) != (name == "code") || !strings.Contains(text, schema) {
			t.Errorf("%s: the description lists the member code: %t", name, strings.Contains(text, `"code"`))
		}
	}
}
