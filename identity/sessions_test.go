package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/revocation"
)

// send makes a request and returns the status alone.
func (i *instance) send(t *testing.T, method, path, body, bearer string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, i.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+bearer)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func (i *instance) login(t *testing.T, body string) string {
	t.Helper()
	status, said := i.do(t, "POST", "/login", body, "")
	token, _ := said["token"].(string)
	if status != 200 || token == "" {
		t.Fatalf("POST /login: %d %v", status, said)
	}
	return token
}

// dies waits until a token is refused.
func (i *instance) dies(t *testing.T, path, token string) {
	t.Helper()
	// A second is the promise, the rest is for a busy machine.
	deadline := time.Now().Add(3 * time.Second)
	for i.send(t, "GET", path, "", token) != 401 {
		if time.Now().After(deadline) {
			t.Fatalf("the token is still good at %s", i.addr)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Two replicas: what ends at one ends at the other, with Redis or without, and
// neither a restart nor an emptied Redis brings it back.
func TestSessionsEnd(t *testing.T) {
	redis := testserver.Redis(t)
	mongo := testserver.Mongo(t)
	replica := func() *instance {
		i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
		i.until(t, "/readyz", 200)
		return i
	}
	one, two := replica(), replica()
	status, user := one.do(t, "POST", "/users", alice, "")
	id, _ := user["id"].(string)
	if status != 201 {
		t.Fatalf("POST /users: %d %v", status, user)
	}
	own := "/users/" + id

	first, second := one.login(t, alice), one.login(t, alice)
	if got := one.send(t, "POST", "/logout", "", first); got != 204 {
		t.Fatalf("logout: %d", got)
	}
	if got := one.send(t, "GET", own, "", first); got != 401 {
		t.Errorf("after logout the token is answered with %d", got)
	}
	two.dies(t, own, first)
	if got := two.send(t, "GET", own, "", second); got != 200 {
		t.Errorf("another token of the user is answered with %d", got)
	}

	change := `{"current":"correct horse battery staple","new":"another battery staple"}`
	if got := two.send(t, "PUT", own+"/password", change, second); got != 204 {
		t.Fatalf("change of password: %d", got)
	}
	third := two.login(t, `{"username":"alice","password":"another battery staple"}`)
	one.dies(t, own, second)
	if got := one.send(t, "GET", own, "", third); got != 200 {
		t.Errorf("the new token is answered with %d", got)
	}
	if got := one.send(t, "POST", "/login", alice, ""); got != 401 {
		t.Errorf("login with the old password: %d", got)
	}

	redis.Kill()
	if got := one.send(t, "POST", "/logout", "", third); got != 503 {
		t.Errorf("logout without redis: %d, want 503", got)
	}
	if got := one.send(t, "GET", own, "", third); got != 401 {
		t.Errorf("after it the token is answered with %d", got)
	}
	two.dies(t, own, third)

	three := replica() // without Redis, it knows from MongoDB
	for name, token := range map[string]string{"first": first, "second": second, "third": third} {
		if got := three.send(t, "GET", own, "", token); got != 401 {
			t.Errorf("after a restart the %s token is answered with %d", name, got)
		}
	}
	redis.Start()
	deadline := time.Now().Add(5 * time.Second)
	for {
		got := one.send(t, "POST", "/logout", "", third)
		if got == 401 { // the edges know
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("logout with redis back: %d", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// An account that was disabled is closed at every replica, for tokens and logins
// alike; enabling opens it for new logins and brings no token back.
func TestDisabledEverywhere(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	var replicas []*instance
	for range 2 {
		i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
		i.until(t, "/readyz", 200)
		replicas = append(replicas, i)
	}
	_, user := replicas[0].do(t, "POST", "/users", alice, "")
	own := fmt.Sprint("/users/", user["id"])
	token := replicas[0].login(t, alice)
	admin := operator(t, mongo, redis.URL())
	if _, err := admin.Disable(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	change := `{"current":"correct horse battery staple","new":"another battery staple"}`
	for _, i := range replicas {
		i.dies(t, own, token)
		if got := i.send(t, "POST", "/login", alice, ""); got != 401 {
			t.Errorf("login while disabled: %d", got)
		}
		if got := i.send(t, "PUT", own+"/password", change, token); got != 401 {
			t.Errorf("change of password while disabled: %d", got)
		}
	}
	if _, err := admin.Enable(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	for _, i := range replicas {
		if got := i.send(t, "GET", own, "", i.login(t, alice)); got != 200 {
			t.Errorf("after enabling a new token is answered with %d", got)
		}
		if got := i.send(t, "GET", own, "", token); got != 401 {
			t.Errorf("after enabling the old token is answered with %d", got)
		}
	}
}

// A replica that was told to stop still serves, and until it ends it hears of
// what ends elsewhere.
func TestSessionsEndWhileStopping(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	stopping := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "shutdown-delay": "10s"})
	stopping.until(t, "/readyz", 200)
	other := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
	other.until(t, "/readyz", 200)
	_, user := other.do(t, "POST", "/users", alice, "")
	stopping.stop()
	stopping.until(t, "/readyz", 503)
	for range 2 { // the first may be heard by what was waited for when it was told to stop
		token := other.login(t, alice)
		if got := stopping.send(t, "GET", fmt.Sprint("/users/", user["id"]), "", token); got != 200 {
			t.Fatalf("while stopping the token is answered with %d", got)
		}
		if got := other.send(t, "POST", "/logout", "", token); got != 204 {
			t.Fatalf("logout: %d", got)
		}
		stopping.dies(t, fmt.Sprint("/users/", user["id"]), token)
	}
	if err := stopping.ended(t); err != nil {
		t.Errorf("run: %v", err)
	}
}

// A process that died after it raised a generation, and before it changed
// anything else, leaves a user who can log in.
func TestCrashWhileRevoking(t *testing.T) {
	server := testserver.Redis(t)
	mongo := testserver.Mongo(t)
	i := begin(t, map[string]string{"redis-url": server.URL(), "mongo-url": mongo})
	i.until(t, "/readyz", 200)
	status, user := i.do(t, "POST", "/users", alice, "")
	id, _ := user["id"].(string)
	if status != 201 {
		t.Fatalf("POST /users: %d %v", status, user)
	}
	before := i.login(t, alice)

	store, err := mongostore.Open(t.Context(), mongostore.Config{URL: mongo})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close(t.Context()) }()
	dying := revocation.NewWriter(revocation.WriterConfig{Store: store})
	if _, err := dying.RaiseGeneration(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	// Nobody was promised a second: it is found within SweepEvery.
	deadline := time.Now().Add(20 * time.Second)
	for i.send(t, "GET", "/users/"+id, "", before) != 401 {
		if time.Now().After(deadline) {
			t.Fatal("the generation is not found")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := i.send(t, "GET", "/users/"+id, "", i.login(t, alice)); got != 200 {
		t.Errorf("a new login's token is answered with %d", got)
	}
}
