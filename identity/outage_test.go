package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// tally counts what clients were answered.
type tally struct {
	mu       sync.Mutex
	statuses map[string]int // "POST /users 201"
	names    map[string]int // what the registration of each name was answered with
}

func (c *tally) add(call string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[fmt.Sprint(call, " ", status)]++
}

func (c *tally) of(call string, status int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statuses[fmt.Sprint(call, " ", status)]
}

func (c *tally) until(t *testing.T, call string, status, times int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for c.of(call, status) < times {
		if time.Now().After(deadline) {
			t.Fatalf("%s was not answered %d times with %d: %v", call, times, status, c.statuses)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// answered sends a body and returns the status; a 503 must say when to come
// back.
func (i *instance) answered(t *testing.T, path, body string) int {
	r, err := http.NewRequest(http.MethodPost, i.url+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Errorf("POST %s: %v", path, err)
		return 0
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		if res.Header.Get("Retry-After") == "" || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("POST %s: 503 with %v", path, res.Header)
		}
	}
	return res.StatusCode
}

func newcomer(name string) string {
	return fmt.Sprintf(`{"username":%q,"password":"correct horse battery staple"}`, name)
}

// people create accounts and log in until stop is closed.
func (i *instance) people(t *testing.T, stop chan struct{}) (*tally, func()) {
	c := &tally{statuses: map[string]int{}, names: map[string]int{}}
	var all sync.WaitGroup
	for p := range 2 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("person-%d-%d", p, n)
				status := i.answered(t, "/users", newcomer(name))
				c.add("POST /users", status)
				c.mu.Lock()
				c.names[name] = status
				c.mu.Unlock()
				c.add("POST /login", i.answered(t, "/login", alice))
			}
		})
	}
	return c, all.Wait
}

// TestMongoKilledAndBack kills MongoDB under requests. They are answered with
// 503 until it is back; then everything is as it was, and no account is half.
func TestMongoKilledAndBack(t *testing.T) {
	redis := testserver.Redis(t)
	mongo := testserver.OwnMongo(t)
	i := begin(t, map[string]string{
		"mongo-url": mongo.URL() + "?serverSelectionTimeoutMS=300&timeoutMS=2000", "redis-url": redis.URL(),
	})
	i.until(t, "/readyz", 200)
	_, user := i.do(t, "POST", "/users", alice, "")
	token := i.login(t, alice)

	stop := make(chan struct{})
	people, wait := i.people(t, stop)
	people.until(t, "POST /users", 201, 5)
	mongo.Kill()
	people.until(t, "POST /users", 503, 2)
	people.until(t, "POST /login", 503, 2)
	i.until(t, "/readyz", 503)
	for path, want := range map[string]int{"/livez": 200, "/servingz": 200, "/.well-known/jwks.json": 200, fmt.Sprint("/users/", user["id"]): 503} {
		if got := i.send(t, "GET", path, "", token); got != want {
			t.Errorf("without MongoDB GET %s: %d, want %d", path, got, want)
		}
	}
	created := people.of("POST /users", 201)
	mongo.Start()
	people.until(t, "POST /users", 201, created+3)
	people.until(t, "POST /login", 200, 3)
	i.until(t, "/readyz", 200)
	close(stop)
	wait()

	for call := range people.statuses {
		if !strings.HasSuffix(call, "/users 201") && !strings.HasSuffix(call, "/login 200") && !strings.HasSuffix(call, " 503") {
			t.Errorf("%s, %d times", call, people.statuses[call])
		}
	}
	for name, status := range people.names {
		i.whole(t, name, status)
	}
	if got := i.send(t, "GET", fmt.Sprint("/users/", user["id"]), "", token); got != 200 {
		t.Errorf("afterwards GET /users/{id}: %d", got)
	}
}

// whole checks that an account is there with all that belongs to it, or that
// its name is free.
func (i *instance) whole(t *testing.T, name string, status int) {
	t.Helper()
	login, said := i.do(t, "POST", "/login", newcomer(name), "")
	if login == 401 && status == 503 {
		if again, _ := i.do(t, "POST", "/users", newcomer(name), ""); again != 201 {
			t.Errorf("%s can neither log in nor be created: %d", name, again)
			return
		}
		login, said = i.do(t, "POST", "/login", newcomer(name), "")
	}
	token, _ := said["token"].(string)
	if login != 200 {
		t.Errorf("%s was answered with %d and logs in with %d", name, status, login)
		return
	}
	if own := i.send(t, "GET", "/users/"+subject(t, token), "", token); own != 200 {
		t.Errorf("%s logs in and is not there: %d", name, own)
	}
}
