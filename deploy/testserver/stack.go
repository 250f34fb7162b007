package testserver

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Stack is everything on this machine, as `make run` starts it, on free ports.
type Stack struct {
	Gateway, Identity, Mongo, Redis string // URLs

	t       testing.TB
	program string
	args    []string
	env     []string
	command *exec.Cmd // nil while it is stopped
	output  Output
}

// NewStack starts a stack that stops with the test. Settings of identity are
// given as NAME=value.
func NewStack(t testing.TB, env ...string) *Stack {
	t.Helper()
	at := FreeAddresses(t, 4)
	programs := Programs(t, "earlybird-identity", "earlybird-auth", "earlybird-tag", "earlybird-local")
	s := &Stack{
		Gateway: "http://" + at[0], Identity: "http://" + at[1], Mongo: "mongodb://" + at[2] + "/earlybird", Redis: "redis://" + at[3] + "/0",
		t: t, program: filepath.Join(programs, "earlybird-local"), env: append(os.Environ(), env...),
		args: []string{"--data", t.TempDir(), "--gateway", at[0], "--identity", at[1], "--mongo", at[2], "--redis", at[3]},
	}
	t.Cleanup(s.Stop)
	s.Start()
	return s
}

// PID is the process id of earlybird-local, whose children are the services.
func (s *Stack) PID() int { return s.command.Process.Pid }

// Start starts the stack, and waits until a request passes the gateway, the
// plugin and identity.
func (s *Stack) Start() {
	s.t.Helper()
	s.output.Reset()
	s.command = exec.Command(s.program, s.args...) //nolint:gosec // a program of this project
	s.command.Env, s.command.Stdout, s.command.Stderr = s.env, &s.output, &s.output
	s.command.WaitDelay = 5 * time.Second
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	Eventually(s.t, "the gateway answers", func() bool {
		response, err := http.Get(s.Gateway + "/promotion")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusUnauthorized
	})
}

// Stop ends the stack as Ctrl-C does, and insists that it ends well.
func (s *Stack) Stop() {
	s.t.Helper()
	if s.command == nil {
		return
	}
	if err := s.command.Process.Signal(os.Interrupt); err != nil {
		s.t.Errorf("interrupt the local stack: %v", err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = s.command.Process.Kill() }) // then Wait reports it
	if err := s.command.Wait(); err != nil {
		s.t.Errorf("the local stack did not stop cleanly: %v", err)
	}
	timer.Stop()
	s.command = nil
	if s.t.Failed() {
		s.t.Logf("the local stack said:\n%s", s.output.String())
	}
}
