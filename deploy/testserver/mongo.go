package testserver

import (
	"bufio"
	"bytes"
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

// mongoServer is a running embedded server.
type mongoServer struct {
	url string
	// stdin is held because the garbage collector would close it otherwise, and
	// so end the server.
	stdin io.Closer
}

// shared is the one embedded server of a test process. It ends with the
// process, whose end closes the pipe to its standard input.
var shared = sync.OnceValues(startMongo)

// Mongo returns the mongodb:// URL of a database that is empty and this test's
// own. The server behind it is shared by all tests of a package.
func Mongo(t testing.TB) string {
	t.Helper()
	base, own := os.Getenv("EARLYBIRD_TEST_MONGO_URL"), false
	if base == "" {
		server, err := shared()
		if err != nil {
			unavailable(t, "the embedded MongoDB", err)
		}
		base, own = server.url, true
	}
	database, err := withDatabase(base, "test_"+strings.ToLower(rand.Text()[:16]))
	if err != nil {
		t.Fatalf("EARLYBIRD_TEST_MONGO_URL (embedded server: %t): %v", own, err)
	}
	return database
}

// withDatabase puts the database's name into the URL and keeps its options.
func withDatabase(base, name string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("parse URL: %w", err)
	}
	u.Path = "/" + name
	return u.String(), nil
}

func startMongo() (mongoServer, error) {
	program, err := buildMongo()
	if err != nil {
		return mongoServer{}, err
	}
	command := exec.Command(program, "--listen", "127.0.0.1:0", "--volatile", "--stop-on-eof") //nolint:gosec // the program built above
	stdin, err := command.StdinPipe()
	if err != nil {
		return mongoServer{}, fmt.Errorf("standard input: %w", err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return mongoServer{}, fmt.Errorf("standard output: %w", err)
	}
	var stderr lockedBuffer
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		return mongoServer{}, fmt.Errorf("start: %w", err)
	}
	first := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		first <- strings.TrimSpace(line)
	}()
	select {
	case line := <-first:
		if line != "" {
			return mongoServer{line, stdin}, nil
		}
	case <-time.After(mongoReady):
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	return mongoServer{}, errors.New("it did not become ready: " + stderr.String())
}

// lockedBuffer keeps the first of what a child writes to standard error.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() < 64<<10 {
		b.buf.Write(p)
	}
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
