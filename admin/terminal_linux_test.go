package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// started runs the real program on stores of its own, which have a campaign.
func started(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program := filepath.Join(testserver.Programs(t, "earlybird"), "earlybird")
	mongoURL, redisURL := testserver.Mongo(t), testserver.Redis(t).URL()
	run := func(ctx context.Context, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, program, args...)
		c.Env = append(os.Environ(), "EARLYBIRD_MONGO_URL="+mongoURL, "EARLYBIRD_REDIS_URL="+redisURL)
		return c
	}
	if out, err := run(t.Context(), "campaign", "start", "--yes", "--name", "L", "--slots", "1", "--discount", "10").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return run(ctx, args...)
}

// terminal returns the two ends of a pseudo-terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	return person, program
}

// TestCtrlC: somebody at a terminal presses Ctrl-C at the question. The program
// is gone at once, without Enter, and says that nothing was done.
func TestCtrlC(t *testing.T) {
	c := started(t, "campaign", "end")
	person, tty := terminal(t)
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close() // the program's own is left
	var seen bytes.Buffer
	one := make([]byte, 1)
	for !strings.HasSuffix(seen.String(), "[y/N] ") {
		if _, err := person.Read(one); err != nil {
			t.Fatalf("%v after %q", err, &seen)
		}
		seen.Write(one)
	}
	if _, err := person.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(person) // ends in an error when the program has ended
	_ = c.Wait()
	if status := c.ProcessState.ExitCode(); status != 130 || !strings.Contains(string(rest), "interrupted: nothing was changed") {
		t.Errorf("exit %d, %q", status, rest)
	}
}

// TestWatchEndsWithItsReader: `earlybird campaign watch | head -1` ends, though
// nothing more happens that it would write.
func TestWatchEndsWithItsReader(t *testing.T) {
	c := started(t, "campaign", "watch", "--interval", "20ms")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "campaign 1 active") {
		t.Errorf("%q, %v", line, err)
	}
	_ = out.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("the watcher ended with %v, want that it is done", err)
	}
}

// TestEnrolShowsItsProgress: who issues many codes at a terminal sees how far it
// is, also while customers are skipped, and the codes go elsewhere.
func TestEnrolShowsItsProgress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "customers.csv")
	if err := os.WriteFile(path, []byte("C-1\nC-2\nC-3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := started(t, "enrol", "issue", "--customers", path, "--yes")
	second := exec.CommandContext(t.Context(), first.Path, first.Args[1:]...)
	second.Env = first.Env
	for _, c := range []*exec.Cmd{first, second} {
		person, tty := terminal(t)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, tty
		c.Env = append(c.Env, "TERM=xterm")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_ = tty.Close()
		seen, _ := io.ReadAll(person) // ends in an error when the program has ended
		if err := c.Wait(); err != nil {
			t.Fatalf("%v: %s", err, seen)
		}
		want, codes := "codes issued: 3, customers skipped: 0.", 3
		if c == second {
			want, codes = "codes issued: 0, customers skipped: 3.", 0
		}
		if text := string(seen); !strings.Contains(text, "] 3 of 3 codes") || !strings.Contains(text, want) || strings.Count(text, "\r\x1b[Kskipped: C-") != 3-codes {
			t.Errorf("the terminal shows %q, want %q", text, want)
		}
		if got := strings.Count(out.String(), "│ C-"); got != codes {
			t.Errorf("%d codes in the output, want %d: %s", got, codes, &out)
		}
	}
}
