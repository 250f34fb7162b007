// Package supervise runs programs as child processes: it writes their output to
// the parent's log, restarts them when they die, and stops them with the parent.
package supervise

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// restartEvery is the least time between two starts of a program, as in Kong.
const restartEvery = time.Second

// Program is a child to run.
type Program struct {
	Name  string // what its lines of output begin with
	Path  string
	Args  []string
	Env   []string      // all of its environment
	Dir   string        // its working folder; empty: the parent's
	Grace time.Duration // between SIGTERM and SIGKILL when it is to stop
	Lines *Lines        // where its output goes
	Quiet bool          // show its output only when it ended by itself
	// Ready is closed once the program has done what it was started for. Until
	// then it is not started again. Nil: it always is.
	Ready <-chan struct{}
	Log   *slog.Logger
}

// EndedError reports a program that ended before it was ready.
type EndedError struct {
	Name string
	Last string // the last line it wrote, if any
	Err  error  // how it ended; nil: with status 0
}

func (e *EndedError) Error() string {
	text := e.Name + " ended before it was ready"
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	if e.Last != "" {
		text += ": " + e.Last
	}
	return text
}

func (e *EndedError) Unwrap() error { return e.Err }

// Run runs the program until ctx ends and the program has stopped. A program
// that ends by itself is started again. The error is of the first start, or an
// [EndedError].
func (p Program) Run(ctx context.Context, started func()) error {
	// The kernel kills the child when the thread that started it ends, so that
	// thread is kept for as long as the child runs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for first := true; ; first = false {
		at := time.Now()
		last, err := p.once(ctx, started)
		if ctx.Err() != nil {
			return nil
		}
		var exit *exec.ExitError
		if first && err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("start %s: %w", p.Name, err)
		}
		if !p.ready() {
			return &EndedError{Name: p.Name, Last: last, Err: err}
		}
		p.Log.WarnContext(ctx, "a program ended and is started again", "program", p.Name, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(at.Add(restartEvery))):
		}
	}
}

func (p Program) ready() bool {
	if p.Ready == nil {
		return true
	}
	select {
	case <-p.Ready:
		return true
	default:
		return false
	}
}

// once runs the program to its end, which ctx brings about, and returns the
// last line it wrote.
func (p Program) once(ctx context.Context, started func()) (last string, err error) {
	command := exec.CommandContext(ctx, p.Path, p.Args...) //nolint:gosec // the caller names the program
	command.Env, command.Dir = p.Env, p.Dir
	command.Cancel = func() error { return terminate(command.Process) }
	command.WaitDelay = p.Grace
	command.SysProcAttr = attributes()
	output := p.Lines.writer(p.Name)
	output.hold = p.Quiet
	defer func() { last = output.flush(ctx.Err() == nil) }()
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return "", err
	}
	started()
	return "", command.Wait()
}

// Lines writes whole lines of several programs to one writer, each with its
// program's name.
type Lines struct {
	mu sync.Mutex
	to io.Writer
}

// NewLines returns Lines that write to the given writer.
func NewLines(to io.Writer) *Lines { return &Lines{to: to} }

// Writer returns a writer of lines that begin with the name. What it gets must
// be whole lines, as a log handler writes them.
func (l *Lines) Writer(name string) io.Writer { return l.writer(name) }

func (l *Lines) writer(name string) *prefixed { return &prefixed{name: name, lines: l} }

// prefixed splits a stream into lines.
type prefixed struct {
	name  string
	lines *Lines
	hold  bool // keep the last lines until flush

	mu      sync.Mutex
	partial []byte
	held    [][]byte
	last    string // the last line that is not blank
}

const (
	maxLine = 64 << 10 // bytes that are kept of a line without an end
	maxHeld = 50       // lines
)

func (w *prefixed) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, p...)
	for {
		advance, line, _ := bufio.ScanLines(w.partial, len(w.partial) > maxLine)
		if advance == 0 {
			return len(p), nil
		}
		w.line(line)
		w.partial = w.partial[advance:]
	}
}

func (w *prefixed) line(line []byte) {
	if text := bytes.TrimSpace(line); len(text) > 0 {
		w.last = string(text)
	}
	if !w.hold {
		w.lines.print(w.name, line)
		return
	}
	w.held = append(w.held, bytes.Clone(line))
	if len(w.held) > maxHeld {
		w.held = w.held[1:]
	}
}

// flush prints what has no line break yet, and what was held if it is wanted,
// and returns the last line of all.
func (w *prefixed) flush(held bool) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.line(w.partial)
		w.partial = nil
	}
	if held {
		for _, line := range w.held {
			w.lines.print(w.name, line)
		}
	}
	return w.last
}

func (l *Lines) print(name string, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.to, "%-14s | %s\n", name, line)
}

// PathOnly is an environment of nothing but the search path, for programs that
// must not take over the parent's settings.
func PathOnly() []string { return []string{"PATH=" + os.Getenv("PATH")} }
