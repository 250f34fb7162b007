package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// commands are the blocks of the README to type, each with what it prints.
var commands = regexp.MustCompile("(?s)```sh\n(.*?)```\n((?:\n|    [^\n]*\n)*)")

// differing is what differs from run to run.
var differing = strings.NewReplacer(
	`eyJhbGciOiJFZERTQSIsImtpZCI6\.\.\.`, `eyJhbGciOiJFZERTQSIsImtpZCI6[\w.-]+`,
	`SEUE3UFRHCKE2JMLX23DIFZJOK`, `[A-Z2-7]{26}`,
	`2026-11-22T21:46:34\.639Z`, `[\dT:.-]+Z`,
)

// TestREADME types what the README says on a stack that was never used, and
// holds what is printed against it. Checked by changing a rank, an address and a
// member of a body there.
func TestREADME(t *testing.T) {
	if os.Getenv("GATEWAY_URL") != "" {
		t.Skip("it needs a stack of its own")
	}
	switch _, err := exec.LookPath("curl"); {
	case err != nil && os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := commands.FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 4 {
		t.Fatalf("%d blocks found, want account, login, promotion and price, and the admin's", len(blocks))
	}
	s := newStack(t)
	for n, block := range blocks {
		// A login may be told pending on a busy machine; the next one knows.
		eventually(t, 30*time.Second, fmt.Sprint("block ", n+1, " prints what the README says"), func() error {
			out, err := s.typed(t, block[1])
			if err != nil {
				return err
			}
			for line := range strings.Lines(block[2]) {
				line = strings.TrimSpace(line)
				if !regexp.MustCompile(`(?m)^` + differing.Replace(regexp.QuoteMeta(line)) + `\s*$`).MatchString(out) {
					return fmt.Errorf("no line %q in\n%s", line, out)
				}
			}
			return nil
		})
	}
}

// typed runs commands in a shell, with this stack's addresses.
func (s *stack) typed(t *testing.T, text string) (string, error) {
	t.Helper()
	text = strings.NewReplacer("http://127.0.0.1:8000", s.url, "bin/", s.bin+string(filepath.Separator)).Replace(text)
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", text)
	cmd.Env = append(os.Environ(), "EARLYBIRD_MONGO_URL="+s.mongoURL, "EARLYBIRD_REDIS_URL="+s.redisURL,
		"EARLYBIRD_IDENTITY_URL="+s.own.Identity, "EARLYBIRD_GATEWAY_URL="+s.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}
