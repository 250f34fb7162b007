package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// MongoServer is an embedded MongoDB of a test's own, which keeps its data on
// disk, so that it can be killed and started again.
type MongoServer struct {
	t       testing.TB
	program string
	dir     string
	address string
	command *exec.Cmd     // nil while the server is down
	exited  chan struct{} // closed when command has ended
}

// OwnMongo starts an embedded MongoDB that ends with the test.
func OwnMongo(t testing.TB) *MongoServer {
	t.Helper()
	program, err := buildMongo()
	if err != nil {
		unavailable(t, "the embedded MongoDB", err)
	}
	s := &MongoServer{t: t, program: program, dir: t.TempDir(), address: "127.0.0.1:0"}
	t.Cleanup(s.Kill)
	if err := s.start(); err != nil {
		t.Fatalf("start the embedded MongoDB: %v", err)
	}
	return s
}

// URL is the server's address as a mongodb:// URL, with a database of its own.
func (s *MongoServer) URL() string { return "mongodb://" + s.address + "/test" }

// Start starts the server again after Kill, on the same port and with the same
// data.
func (s *MongoServer) Start() {
	s.t.Helper()
	if s.command != nil {
		return
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("start the embedded MongoDB again: %v", err)
	}
}

// Kill ends the server as kill -9 does.
func (s *MongoServer) Kill() {
	if s.command != nil {
		_ = s.command.Process.Kill()
		<-s.exited
		s.command = nil
	}
}

func (s *MongoServer) start() error {
	command := exec.Command(s.program, "--listen", s.address, "--data", s.dir) //nolint:gosec // the program built by buildMongo
	var stderr lockedBuffer
	command.Stderr = &stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	dieWithParent(command)
	if err := command.Start(); err != nil {
		return err
	}
	first, exited := make(chan string, 1), make(chan struct{})
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		first <- strings.TrimSpace(line)
		_ = command.Wait()
		close(exited)
	}()
	s.command, s.exited = command, exited
	select {
	case line := <-first:
		if line != "" {
			host, _, _ := strings.Cut(strings.TrimPrefix(line, "mongodb://"), "/")
			s.address = host
			return nil
		}
	case <-time.After(mongoReady):
	}
	s.Kill()
	return errors.New("it did not become ready: " + stderr.String())
}
