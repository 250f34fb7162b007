package command

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
)

// accounts creates accounts whose ids are their names in capitals.
func (s *testStores) accounts(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		id := strings.ToUpper(name)
		u := account.User{ID: id, Username: name, Canonical: strings.ToLower(name), CreatedAt: time.Now()}
		c := account.Credential{Canonical: u.Canonical, UserID: id, Password: "none"}
		if err := s.mongo.CreateUser(t.Context(), u, c); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeleteAsksTwice: an account is deleted after two answers, the second of which
// is the name as the account has it.
func TestDeleteAsksTwice(t *testing.T) {
	const second = "It cannot be undone. Type the username to do it: "
	for name, tt := range map[string]struct {
		in     io.Reader
		status int
		says   []string
		gone   bool
	}{
		"no":               {strings.NewReader("n\nAlice\n"), exitFailed, []string{"Go on?", "not confirmed, nothing was changed"}, false},
		"yes, and nothing": {strings.NewReader("y\n"), exitUsage, []string{second, "there was no answer, nothing was changed"}, false},
		"yes twice":        {strings.NewReader("y\ny\n"), exitFailed, []string{second, "not confirmed, nothing was changed"}, false},
		"another name":     {strings.NewReader("y\nalice\n"), exitFailed, []string{second, "not confirmed, nothing was changed"}, false},
		"yes and the name": {strings.NewReader("y\nAlice\n"), exitDone, []string{second}, true},
		"without a line's end": {
			io.MultiReader(strings.NewReader("yes\n"), strings.NewReader(" Alice")), exitDone, []string{second}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t)
			s.accounts(t, "Alice")
			status, _, errs := s.run(t.Context(), tt.in, "user delete alice")
			if status != tt.status {
				t.Errorf("exit %d, want %d: %s", status, tt.status, errs)
			}
			for _, want := range tt.says {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in:\n%s", want, errs)
				}
			}
			if _, err := s.mongo.Credential(t.Context(), "alice"); (err != nil) != tt.gone {
				t.Errorf("the credential: %v, want it gone: %t", err, tt.gone)
			}
		})
	}
}

// TestDeleteAgain: a deletion that was cut off before its last write is finished by
// the same command; meanwhile the account is listed, and opens nothing.
func TestDeleteAgain(t *testing.T) {
	s := newStores(t)
	s.accounts(t, "Alice")
	if err := s.mongo.DeleteUser(t.Context(), "ALICE"); err != nil {
		t.Fatal(err)
	}
	if list := s.mustRun(t, "user list --output csv"); !strings.Contains(list, "\nALICE,alice,alice,,false,0,,\n") {
		t.Errorf("half an account is listed as\n%s", list)
	}
	if status, _, errs := s.run(t.Context(), strings.NewReader(""), "user enable alice --yes"); status != exitFailed || !strings.Contains(errs, "there is no user") {
		t.Errorf("enable half an account: exit %d, %s", status, errs)
	}
	if out := s.mustRun(t, "user delete alice --yes --output csv"); out != "id,username,addresses_removed\nALICE,alice,0\n" {
		t.Errorf("deleted: %s", out)
	}
	if list := s.mustRun(t, "user list --output csv"); strings.Contains(list, "ALICE") {
		t.Errorf("afterwards:\n%s", list)
	}
}

// TestDeleteOfACustomer: the claim stays, and the account is not created again from
// what an interrupted registration left in it.
func TestDeleteOfACustomer(t *testing.T) {
	s := newStores(t)
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	u := account.User{ID: "ALICE", Username: "Alice", Canonical: "alice", CreatedAt: at, Customer: "C-1"}
	c := account.Credential{Canonical: "alice", UserID: "ALICE", Password: "$argon2id$none"}
	issue := enrolment.Issue{Customer: "C-1", Number: 1, Hash: "H", Expires: at.Add(time.Hour), At: at, By: "carol"}
	if _, err := s.mongo.AddIssues(t.Context(), []enrolment.Issue{issue}); err != nil {
		t.Fatal(err)
	}
	claim := enrolment.Claim{Customer: "C-1", UserID: "ALICE", At: at, Pending: &enrolment.Pending{User: u, Credential: c}}
	if err := errors.Join(s.mongo.AddClaim(t.Context(), claim), s.mongo.CreateUser(t.Context(), u, c)); err != nil {
		t.Fatal(err)
	}
	var out exportJSON
	text := s.mustRun(t, "user export alice")
	if err := json.Unmarshal([]byte(text), &out); err != nil || strings.Contains(text, "argon2") || strings.Contains(text, `"H"`) {
		t.Fatalf("%v: %s", err, text)
	}
	want := enrolmentJSON{Customer: "C-1", Since: at, Codes: []codeJSON{{Number: 1, At: at, By: "carol", Expires: &issue.Expires}}}
	if out.Enrolment == nil || !reflect.DeepEqual(*out.Enrolment, want) || out.Account["customer"] != "C-1" {
		t.Errorf("exported %s, want %+v", text, want)
	}
	s.mustRun(t, "user delete alice --yes")
	kept, err := s.mongo.Claim(t.Context(), "C-1")
	if err != nil || kept.UserID != "ALICE" || kept.Pending != nil {
		t.Errorf("the claim is %+v, %v; want it without the account", kept, err)
	}
	if shown := s.mustRun(t, "enrol show C-1 --output csv"); !strings.Contains(shown, "\nC-1,deleted,") {
		t.Errorf("the customer is shown as\n%s", shown)
	}
	if _, err := s.mongo.Credential(t.Context(), "alice"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("the credential: %v, want ErrNotFound", err)
	}
}
