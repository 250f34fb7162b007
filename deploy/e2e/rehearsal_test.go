package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRehearsal plays launch day with 30 users on a stack that nobody uses,
// through the gateway and the real plugins.
func TestRehearsal(t *testing.T) {
	if os.Getenv("GATEWAY_URL") != "" {
		t.Skip("it needs a stack of its own")
	}
	s := newStack(t)
	page := filepath.Join(t.TempDir(), "rehearsal.html")
	rehearse := []string{
		"rehearse", "--gateway", s.url, "--users", "30", "--at-once", "--slots", "10", "--addresses", "10.9.0.0/16",
		"--clean", "--html", page, "--output", "json", "--yes",
	}
	if _, err := s.admin(t, rehearse...); err == nil || !strings.Contains(err.Error(), `campaign 1 "Early Bird" (active`) {
		t.Fatalf("beside the stack's first campaign: %v", err)
	}
	if _, err := s.admin(t, "campaign", "end", "--yes"); err != nil {
		t.Fatal(err)
	}
	out, err := s.admin(t, rehearse...)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Logins  int
		Told    map[string]int
		Granted int
		Limited int `json:"status_429"`
		Checks  []struct {
			Check, Detail string
			OK            bool
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if told := report.Told; report.Logins != 30 || report.Granted != 10 || told["granted"] > 10 || told["full"] > 20 || told["granted"]+told["full"]+told["pending"] != 30 {
		t.Errorf("30 users for 10 slots: %s", out)
	}
	for _, c := range report.Checks {
		if !c.OK && c.Check != "rate" { // a busy machine may be late
			t.Errorf("%s: %s", c.Check, c.Detail)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "10 of 10 granted") {
		t.Errorf("the page: %v\n%s", err, text)
	}

	for _, want := range []struct {
		text string
		args []string
	}{
		{`"rehearsal":true`, []string{"campaign", "status", "--output", "json"}},
		{`"rehearsal":true`, []string{"campaign", "audit", "--output", "json"}},
		{`"ok":true`, []string{"campaign", "audit", "--output", "json"}},
	} {
		if out, err := s.admin(t, want.args...); err != nil || !strings.Contains(string(out), want.text) {
			t.Errorf("%v: %v, no %s in %s", want.args, err, want.text, out)
		}
	}
	s.newCampaign(t, 10, 30)
	p := newPerson("after")
	s.enter(t, p)
	s.check(t, []*person{p}, s.settled(t, 1)) // nobody of the rehearsal is among its winners
}
