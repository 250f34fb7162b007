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

// Redis starts a redis-server that ends with the test, with more arguments such
// as "--replicaof", "127.0.0.1 6379".
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, program: redisProgram(t), dir: t.TempDir(), args: args}
	t.Cleanup(s.Kill)
	const attempts = 5 // another process may take the free port first
	var err error
	for range attempts {
		_, port, _ := net.SplitHostPort(FreeAddresses(t, 1)[0])
		s.port, _ = strconv.Atoi(port)
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

// RedisCluster starts a Redis Cluster of one node that has all slots, and
// returns its URL. It is as strict as one of several nodes: keys that are used
// together must be of one slot.
func RedisCluster(t testing.TB) string {
	t.Helper()
	s := Redis(t, "--cluster-enabled", "yes")
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
	var output Output
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
func waitForRedis(output *Output, exited <-chan struct{}) error {
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

// User makes a user with a password and these rights, and returns the server's
// URL with both. A server forgets its users when it ends.
func (s *RedisServer) User(name string, rights ...string) string {
	s.t.Helper()
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">secret"}
	for _, right := range rights {
		args = append(args, right)
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(s.port)})
	defer func() { _ = client.Close() }()
	if err := client.Do(s.t.Context(), args...).Err(); err != nil {
		s.t.Fatal(err)
	}
	return strings.Replace(s.URL(), "redis://", "redis://"+name+":secret@", 1)
}

// Sentinel starts the same program as a sentinel that watches the server under the name m, and
// returns its address. It takes a server that is silent for a second for down.
func (s *RedisServer) Sentinel() string {
	s.t.Helper()
	address := FreeAddresses(s.t, 1)[0]
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(s.t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor m 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 3000\n", port, filepath.Dir(file), s.port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	command := exec.Command(s.program, file, "--sentinel") //nolint:gosec // the server of the tests is the sentinel too
	dieWithParent(command)
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	return address
}
