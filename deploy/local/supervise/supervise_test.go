//go:build unix

package supervise_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/local/supervise"
	"github.com/earlybird/earlybird/deploy/testserver"
)

// shell runs a script under supervision until the test, or stop, ends it.
func shell(t *testing.T, script string, change func(*supervise.Program)) (out *testserver.Output, starts chan time.Time, stop func() error) {
	t.Helper()
	out, starts = &testserver.Output{}, make(chan time.Time, 100)
	program := supervise.Program{
		Name: "child", Path: "/bin/sh", Args: []string{"-c", script}, Env: supervise.PathOnly(), Grace: 200 * time.Millisecond,
		Lines: supervise.NewLines(out), Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&program)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- program.Run(ctx, func() { starts <- time.Now() }) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = stop() })
	return out, starts, stop
}

func TestLinesCarryTheName(t *testing.T) {
	out, _, _ := shell(t, `printf 'one\ntw'; printf 'o\n' >&2; sleep 60`, nil)
	testserver.Eventually(t, "two whole lines", func() bool { return strings.Count(out.String(), "\n") == 2 })
	for _, want := range []string{"child          | one\n", "child          | two\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q, want %q in it", out.String(), want)
		}
	}
}

func TestADeadProgramIsStartedAgainAfterASecond(t *testing.T) {
	_, starts, _ := shell(t, `exit 3`, nil)
	var longest time.Duration
	for last, i := <-starts, 0; i < 3; i++ { // a busy machine may note a start late, which makes the next seem early
		next := <-starts
		longest, last = max(longest, next.Sub(last)), next
	}
	if longest < 900*time.Millisecond {
		t.Errorf("started again after %v, want a second at least", longest)
	}
}

func TestAProgramThatEndsBeforeItIsReadyIsAnError(t *testing.T) {
	program := supervise.Program{
		Name: "child", Path: "/bin/sh", Args: []string{"-c", "echo first; echo why; echo; exit 3"}, Env: supervise.PathOnly(),
		Ready: make(chan struct{}), Lines: supervise.NewLines(&testserver.Output{}), Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	starts := 0
	err := program.Run(ctx, func() { starts++ })
	var ended *supervise.EndedError
	if !errors.As(err, &ended) || err.Error() != "child ended before it was ready (exit status 3): why" || starts != 1 {
		t.Errorf("after %d starts: %v", starts, err)
	}
}

func TestAProgramThatWasReadyIsStartedAgain(t *testing.T) {
	ready := make(chan struct{})
	close(ready)
	_, starts, _ := shell(t, `exit 3`, func(p *supervise.Program) { p.Ready = ready })
	<-starts
	<-starts
}

func TestAProgramThatCannotStartIsAnError(t *testing.T) {
	program := supervise.Program{
		Name: "child", Path: filepath.Join(t.TempDir(), "missing"),
		Lines: supervise.NewLines(&testserver.Output{}), Log: slog.New(slog.DiscardHandler),
	}
	err := program.Run(t.Context(), func() { t.Error("it was started") })
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestQuietShowsOutputOnlyOfAProgramThatEndedByItself(t *testing.T) {
	quiet := func(p *supervise.Program) { p.Quiet = true }
	out, _, _ := shell(t, `echo last words; exit 1`, quiet)
	testserver.Eventually(t, "the held lines", func() bool { return strings.Contains(out.String(), "last words") })
	out, starts, stop := shell(t, `echo hello; sleep 60`, quiet)
	<-starts
	if err := stop(); err != nil || out.String() != "" {
		t.Errorf("after a stop: error %v, output %q; want neither", err, out)
	}
}

func TestAProgramThatIgnoresSIGTERMIsKilled(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	_, _, stop := shell(t, `trap '' TERM; echo $$ > `+pidFile+`; while :; do sleep 0.05; done`, nil)
	testserver.Eventually(t, "the program's id", func() bool { b, _ := os.ReadFile(pidFile); return len(b) > 1 })
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 150*time.Millisecond || took > 5*time.Second {
		t.Errorf("stopped after %v, want the grace of 200 ms", took)
	}
}
