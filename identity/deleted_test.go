package main

import (
	"fmt"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
)

// An account that was deleted is gone at every replica: its tokens are dead, nobody
// logs in, and the name is another person's who takes a place of their own. The
// grant stays under the id.
func TestDeletedEverywhere(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	var replicas []*instance
	for range 2 {
		i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
		i.until(t, "/readyz", 200)
		replicas = append(replicas, i)
	}
	console := newConsole(t, mongo, redis.URL())
	console.start(t, 1, 10)
	_, user := replicas[0].do(t, "POST", "/users", alice, "")
	id := fmt.Sprint(user["id"])
	token := replicas[0].login(t, alice)
	if status, p := replicas[0].do(t, "GET", "/promotion", "", token); status != 200 {
		t.Fatalf("GET /promotion: %d %v", status, p)
	}
	admin := operator(t, mongo, redis.URL())
	found, err := admin.Deleting(t.Context(), "alice")
	if err != nil || found.ID != id {
		t.Fatal(found, err)
	}
	if _, err := admin.Delete(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	for _, i := range replicas {
		i.dies(t, "/promotion", token)
		for _, request := range [][2]string{{"GET", "/users/me"}, {"GET", "/users/" + id}, {"POST", "/logout"}, {"PUT", "/users/me/password"}} {
			if got := i.send(t, request[0], request[1], `{"current":"correct horse battery staple","new":"another battery staple"}`, token); got != 401 {
				t.Errorf("%s %s: %d, want 401", request[0], request[1], got)
			}
		}
		if got := i.send(t, "POST", "/login", alice, ""); got != 401 {
			t.Errorf("login: %d, want 401", got)
		}
	}
	status, next := replicas[1].do(t, "POST", "/users", alice, "")
	if status != 201 || next["id"] == id {
		t.Fatalf("register the name again: %d %v", status, next)
	}
	status, p := replicas[0].do(t, "GET", "/promotion", "", replicas[0].login(t, alice))
	if status != 404 || p["standing"] != "full" || p["position"] != 2.0 {
		t.Errorf("the new user's promotion: %d %v, want the second in line", status, p)
	}
	if f := console.log(t); f.Position(id) != 1 || f.Granted() != 1 {
		t.Errorf("the grant of %s has gone", id)
	}
}

// A disqualified user is told so, the place goes to the next in line, and both keep
// their ranks when the user is reinstated.
func TestDisqualifiedIsTold(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
	i.until(t, "/readyz", 200)
	console := newConsole(t, mongo, redis.URL())
	console.start(t, 1, 10)
	var ids, tokens [2]string
	for n, body := range []string{alice, `{"username":"bob","password":"correct horse battery staple"}`} {
		_, user := i.do(t, "POST", "/users", body, "")
		ids[n], tokens[n] = fmt.Sprint(user["id"]), i.login(t, body)
	}
	want := func(when string, n, status int, member string, value any) {
		t.Helper()
		if got, p := i.do(t, "GET", "/promotion", "", tokens[n]); got != status || p[member] != value {
			t.Errorf("%s: %d %v, want %d with %s %v", when, got, p, status, member, value)
		}
	}
	want("the winner", 0, 200, "rank", 1.0)
	want("the next in line", 1, 404, "standing", "full")
	console.commit(t, campaign.Void(ids[0]))
	want("disqualified", 0, 404, "standing", "disqualified")
	want("moved up", 1, 200, "rank", 2.0)
	console.commit(t, campaign.Reinstate(ids[0]))
	want("reinstated", 0, 200, "rank", 1.0)
	want("and nobody loses the grant", 1, 200, "rank", 2.0)
}
