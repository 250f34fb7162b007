package testserver

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// mongoReady bounds the wait for the embedded server to say that it is ready.
const mongoReady = 30 * time.Second

// mongoProcess is a running embedded server.
type mongoProcess struct {
	url     string
	command *exec.Cmd
	exited  chan struct{} // closed when command has ended
	// stdin is held because the garbage collector would close it otherwise, and
	// so end the server.
	stdin io.Closer
}

// shared is the one embedded server of a test process.
var shared = sync.OnceValues(func() (*mongoProcess, error) { return startMongo("--listen", "127.0.0.1:0", "--volatile") })

// Mongo returns the mongodb:// URL of a database that is empty and this test's
// own. The server behind it is shared by all tests of a package.
func Mongo(t testing.TB) string {
	t.Helper()
	base := os.Getenv("EARLYBIRD_TEST_MONGO_URL")
	if base == "" {
		server, err := shared()
		if err != nil {
			unavailable(t, "the embedded MongoDB", err)
		}
		base = server.url
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("EARLYBIRD_TEST_MONGO_URL: %v", err)
	}
	u.Path = "/test_" + strings.ToLower(rand.Text()[:16])
	return u.String()
}

// MongoServer is an embedded MongoDB of a test's own, which keeps its data on
// disk, so that it can be killed and started again.
type MongoServer struct {
	t       testing.TB
	dir     string
	address string
	process *mongoProcess // nil while the server is down
}

// OwnMongo starts an embedded MongoDB that ends with the test.
func OwnMongo(t testing.TB) *MongoServer {
	t.Helper()
	if _, err := buildMongo(); err != nil {
		unavailable(t, "the embedded MongoDB", err)
	}
	s := &MongoServer{t: t, dir: t.TempDir(), address: "127.0.0.1:0"}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// URL is the server's address as a mongodb:// URL, with a database of its own.
func (s *MongoServer) URL() string { return "mongodb://" + s.address + "/test" }

// Start starts the server again after Kill, on the same port and with the same
// data.
func (s *MongoServer) Start() {
	s.t.Helper()
	if s.process != nil {
		return
	}
	process, err := startMongo("--listen", s.address, "--data", s.dir)
	if err != nil {
		s.t.Fatalf("start the embedded MongoDB: %v", err)
	}
	s.process = process
	s.address, _, _ = strings.Cut(strings.TrimPrefix(process.url, "mongodb://"), "/")
}

// Kill ends the server as kill -9 does.
func (s *MongoServer) Kill() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

func (p *mongoProcess) kill() {
	_ = p.command.Process.Kill()
	<-p.exited
}

// startMongo starts an embedded server and waits until it has said its URL. It
// ends with this process, whose end closes the pipe to its standard input.
func startMongo(args ...string) (*mongoProcess, error) {
	program, err := buildMongo()
	if err != nil {
		return nil, err
	}
	command := exec.Command(program, append(args, "--stop-on-eof")...) //nolint:gosec // the program built above
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("standard output: %w", err)
	}
	var stderr Output
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	p := &mongoProcess{command: command, exited: make(chan struct{}), stdin: stdin}
	first := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		first <- strings.TrimSpace(line)
		_ = command.Wait()
		close(p.exited)
	}()
	select {
	case p.url = <-first:
	case <-time.After(mongoReady):
	}
	if p.url == "" {
		p.kill()
		return nil, errors.New("it did not become ready: " + stderr.String())
	}
	return p, nil
}
