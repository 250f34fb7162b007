package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/mongostore"
)

// subject reads the user's id from a token, without checking it.
func subject(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("that is no token")
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Sub
}

// startProgram builds the program and runs it as a process of its own.
func startProgram(t *testing.T, address string, args ...string) (*exec.Cmd, *testserver.Output) {
	t.Helper()
	file := filepath.Join(testserver.Programs(t, "earlybird-identity"), "earlybird-identity")
	said := &testserver.Output{}
	program := exec.Command(file, append([]string{"--listen", address, "--key-secret-file", secretFile(t)}, args...)...)
	program.Stderr = said
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill() })
	return program, said
}

// TestTerminatedUnderLoad sends SIGTERM to the program while many create
// accounts. They stop when it says that it is stopping, as a load balancer
// makes them: every request sent until then is answered, and what was answered
// is stored.
func TestTerminatedUnderLoad(t *testing.T) {
	redis, mongo, address := testserver.Redis(t), testserver.Mongo(t), testserver.FreeAddresses(t, 1)[0]
	program, said := startProgram(t, address, "--mongo-url", mongo, "--redis-url", redis.URL(),
		"--hash-concurrency", "1", "--shutdown-delay", "300ms", "--address-limit", "off")
	i := &instance{url: "http://" + address, addr: address, logs: said}
	awaitReady(t, i)

	var (
		created  sync.Map
		finished atomic.Int64
		people   sync.WaitGroup
		stopping = make(chan struct{})
	)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20}}
	for p := range 16 {
		people.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stopping:
					return
				default:
				}
				name := fmt.Sprintf("person-%d-%d", p, n)
				res, err := client.Post(i.url+"/users", "application/json", strings.NewReader(newcomer(name)))
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				res.Body.Close()
				switch res.StatusCode {
				case http.StatusCreated:
					created.Store(name, true)
					finished.Add(1)
				case http.StatusServiceUnavailable:
				default:
					t.Errorf("POST /users: %d", res.StatusCode)
				}
			}
		})
	}
	for finished.Load() < 20 {
		time.Sleep(5 * time.Millisecond)
	}
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		status, body := i.do(t, "GET", "/readyz", "", "")
		if status == 503 && body["status"] == "stopping" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(stopping)
	people.Wait()
	if err := program.Wait(); err != nil {
		t.Errorf("the program ended with %v\n%s", err, said)
	}
	store, err := mongostore.Open(t.Context(), mongostore.Config{URL: mongo})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close(t.Context()) }()
	created.Range(func(name, _ any) bool {
		if _, err := store.Credential(t.Context(), name.(string)); err != nil {
			t.Errorf("%s was created and is not there: %v", name, err)
		}
		return true
	})
}

// awaitReady polls a program that does not listen yet.
func awaitReady(t *testing.T, i *instance) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for healthcheck(t.Context(), i.addr, "/readyz") != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the program does not become ready\n%s", i.logs)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
