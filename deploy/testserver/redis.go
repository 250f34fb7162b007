package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisReady bounds the wait for redis-server to answer.
const redisReady = 20 * time.Second

// RedisServer is a real redis-server on a free port of the loopback address,
// with an append-only file that is synced before each answer.
type RedisServer struct {
	t       testing.TB
	program string
	dir     string
	port    int
	args    []string
	command *exec.Cmd     // nil while the server is down
	exited  chan struct{} // closed when command has ended
}

// RedisOption changes how the server is started.
type RedisOption func(*RedisServer)

// WithRedisArgs adds arguments to redis-server's command line, such as
// "--replicaof", "127.0.0.1 6379".
func WithRedisArgs(args ...string) RedisOption {
	return func(s *RedisServer) { s.args = append(s.args, args...) }
}

// Redis starts a redis-server that ends with the test.
func Redis(t testing.TB, options ...RedisOption) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, program: redisProgram(t), dir: t.TempDir()}
	for _, option := range options {
		option(s)
	}
	t.Cleanup(s.Kill)
	const attempts = 5 // another process may take the free port first
	var err error
	for range attempts {
		if s.port, err = freePort(); err != nil {
			continue
		}
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("start redis-server: %v", err)
	return nil
}

// redisProgram is the server that the tests start.
func redisProgram(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("EARLYBIRD_TEST_REDIS_SERVER"); named != "" {
		program, err := exec.LookPath(named)
		if err != nil {
			t.Fatalf("EARLYBIRD_TEST_REDIS_SERVER: %v", err)
		}
		return program
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		unavailable(t, "redis-server", err)
	}
	return program
}

// Sentinel starts a Redis Sentinel, which is the same program as the server. It
// watches the primary on this port under the name m. Settings are added to its
// configuration, such as "down-after-milliseconds m 1000". It ends with the test;
// its address is host:port.
func Sentinel(t testing.TB, primary int, settings ...string) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor m 127.0.0.1 %d 1\n", port, filepath.Dir(file), primary)
	for _, setting := range settings {
		config += "sentinel " + setting + "\n"
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(redisProgram(t), file, "--sentinel") //nolint:gosec // the server of the tests
	dieWithParent(command)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	return "127.0.0.1:" + strconv.Itoa(port)
}

// RedisCluster starts a Redis Cluster of one node that has all slots, and
// returns its URL. It is as strict as one of several nodes: keys that are used
// together must be of one slot.
func RedisCluster(t testing.TB) string {
	t.Helper()
	s := Redis(t, WithRedisArgs("--cluster-enabled", "yes"))
	address := "127.0.0.1:" + strconv.Itoa(s.port)
	client := redis.NewClient(&redis.Options{Addr: address})
	defer func() { _ = client.Close() }()
	const slots = 16384
	if err := client.ClusterAddSlotsRange(t.Context(), 0, slots-1).Err(); err != nil {
		t.Fatalf("give redis-server its slots: %v", err)
	}
	for deadline := time.Now().Add(redisReady); !strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok"); {
		if time.Now().After(deadline) {
			t.Fatalf("the cluster is not up after %v", redisReady)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "redis+cluster://" + address
}

// Port is the TCP port the server has or had.
func (s *RedisServer) Port() int { return s.port }

// Dir is the folder with the append-only file.
func (s *RedisServer) Dir() string { return s.dir }

// URL is the server's address as a redis:// URL of database 0.
func (s *RedisServer) URL() string { return "redis://127.0.0.1:" + strconv.Itoa(s.port) + "/0" }

// Start starts the server again after Kill or Stop, on the same port and with
// the same folder.
func (s *RedisServer) Start() {
	s.t.Helper()
	if s.command != nil {
		return
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("start redis-server again: %v", err)
	}
}

// Kill ends the server as kill -9 does.
func (s *RedisServer) Kill() {
	if s.command != nil {
		_ = s.command.Process.Kill()
		s.ended()
	}
}

// Stop ends the server as SIGTERM does, and waits for it.
func (s *RedisServer) Stop() {
	if s.command != nil {
		terminate(s.command.Process)
		s.ended()
	}
}

func (s *RedisServer) ended() {
	<-s.exited
	s.command = nil
}

func (s *RedisServer) start() error {
	args := append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
	}, s.args...)
	command := exec.Command(s.program, args...) //nolint:gosec // the server of the tests
	var output lockedBuffer
	command.Stdout, command.Stderr = &output, &output
	dieWithParent(command)
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(exited)
	}()
	s.command, s.exited = command, exited
	if err := waitForRedis(&output, exited); err != nil {
		s.Kill()
		return fmt.Errorf("%w\n%s", err, output.String())
	}
	return nil
}

// waitForRedis returns once the server says that it has loaded its data and
// listens. A ping would not tell it from another server on the same port.
func waitForRedis(output *lockedBuffer, exited <-chan struct{}) error {
	deadline := time.After(redisReady)
	for !strings.Contains(output.String(), "Ready to accept connections") {
		select {
		case <-exited:
			return errors.New("redis-server has ended")
		case <-deadline:
			return fmt.Errorf("redis-server is not ready after %v", redisReady)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
