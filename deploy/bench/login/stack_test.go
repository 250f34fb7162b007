//go:build linux

package login_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// stack is the local stack, with identity's limits lifted. The gateway's are
// not: clients come from 100 addresses of the loopback network instead.
type stack struct {
	*testserver.Stack
	clients [100]*http.Client
	filled  int
	phc     string
}

func newStack(t testing.TB) *stack {
	t.Helper()
	s := &stack{Stack: testserver.NewStack(t, "EARLYBIRD_ADDRESS_LIMIT=off", "EARLYBIRD_ACCOUNT_LIMIT=off", "EARLYBIRD_ACCOUNT_ADDRESS_LIMIT=off")}
	for n := range s.clients {
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(100+n))}}
		s.clients[n] = &http.Client{Transport: &http.Transport{DialContext: from.DialContext, MaxIdleConnsPerHost: 64}}
	}
	return s
}

// send makes a request from one of the addresses and returns the status and
// the body.
func (s *stack) send(t testing.TB, client int, method, url, body, token string) (int, []byte) {
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.clients[client%len(s.clients)].Do(r)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, answer
}

// served posts and reports whether the answer was good; it may be 503 else.
func (s *stack) served(t testing.TB, base string, client int, path, body string) bool {
	status, answer := s.send(t, client, http.MethodPost, base+path, body, "")
	switch status {
	case http.StatusOK, http.StatusCreated:
		return true
	case http.StatusServiceUnavailable:
		return false
	}
	t.Errorf("POST %s: %d %s", path, status, answer)
	return false
}

func (s *stack) read(t testing.TB, client int, path, token string) bool {
	status, answer := s.send(t, client, http.MethodGet, s.Identity+path, "", token)
	if status != http.StatusOK {
		t.Errorf("GET %s: %d %s", path, status, answer)
	}
	return status == http.StatusOK
}

func (s *stack) register(t testing.TB, base, name string) string {
	t.Helper()
	status, answer := s.send(t, 0, http.MethodPost, base+"/users", credentials(name), "")
	var user struct{ ID string }
	if err := json.Unmarshal(answer, &user); status != http.StatusCreated || err != nil {
		t.Fatalf("register %s: %d %s", name, status, answer)
	}
	return user.ID
}

// login returns the id and a token of an account of this name, made if it is
// not there.
func (s *stack) login(t testing.TB, name string) (id, token string) {
	t.Helper()
	name = "reader-" + name
	id = s.register(t, s.Identity, name)
	_, answer := s.send(t, 0, http.MethodPost, s.Identity+"/login", credentials(name), "")
	var said struct{ Token string }
	if err := json.Unmarshal(answer, &said); err != nil || said.Token == "" {
		t.Fatalf("login: %s", answer)
	}
	return id, said.Token
}

// fill brings the store to so many accounts, past the service: all have the
// same password, and one hash of it.
func (s *stack) fill(t testing.TB, size int) {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(s.Mongo))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	db := client.Database("earlybird")
	if s.phc == "" {
		var held struct{ Password string }
		if err := db.Collection("credentials").FindOne(t.Context(), bson.M{"_id": "person-0"}).Decode(&held); err != nil {
			t.Fatal(err)
		}
		s.phc = held.Password
	}
	for s.filled < size {
		var users, credentials []any
		for range min(1000, size-s.filled) {
			name := "filler-" + strconv.Itoa(s.filled)
			users = append(users, bson.M{"_id": "ID-" + name, "username": name, "canonical": name, "created_at": time.Now()})
			credentials = append(credentials, bson.M{"_id": name, "user_id": "ID-" + name, "password": s.phc, "generation": int64(0), "disabled": false})
			s.filled++
		}
		for collection, docs := range map[string][]any{"users": users, "credentials": credentials} {
			if _, err := db.Collection(collection).InsertMany(t.Context(), docs); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// pid finds identity among the children of the stack.
func (s *stack) pid(t testing.TB) string {
	t.Helper()
	own := strconv.Itoa(s.PID())
	tasks, _ := filepath.Glob("/proc/" + own + "/task/*/children")
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			if name, _ := os.Readlink("/proc/" + child + "/exe"); filepath.Base(name) == "earlybird-identity" {
				return child
			}
		}
	}
	t.Fatal("identity is not among the processes")
	return ""
}

// cpuOf is how much CPU time a process has used, by the ticks of 10 ms that
// proc(5) counts in.
func cpuOf(t testing.TB, pid string) time.Duration {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// peak is the most resident memory of identity since forgetPeak, in KiB.
func (s *stack) peak(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + s.pid(t) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

func (s *stack) forgetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/"+s.pid(t)+"/clear_refs", []byte("5"), 0o200); err != nil {
		t.Log("the peak of memory cannot be reset:", err)
	}
}
