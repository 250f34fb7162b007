package main

import (
	"encoding/json"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
)

// operator returns the administration of accounts, as the command line has it.
func operator(t *testing.T, mongoURL, redisURL string) *account.Admin {
	t.Helper()
	store, err := mongostore.Open(t.Context(), mongostore.Config{URL: mongoURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	client, err := redisdb.Connect(redisdb.Config{URL: redisURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	hasher, err := password.NewHasher(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := account.NewAdmin(account.AdminConfig{
		Store: store, Revoker: revocation.NewWriter(revocation.WriterConfig{Store: store, Redis: client}), Hasher: hasher,
	})
	if err != nil {
		t.Fatal(err)
	}
	return admin
}

// Somebody has forgotten the password: the way back in is open for that alone.
func TestForgottenPassword(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
	i.until(t, "/readyz", 200)
	status, user := i.do(t, "POST", "/users", alice, "")
	id, _ := user["id"].(string)
	if status != 201 {
		t.Fatalf("POST /users: %d %v", status, user)
	}
	own := "/users/" + id
	before := i.login(t, alice)

	_, oneTime, err := operator(t, mongo, redis.URL()).ResetPassword(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	i.dies(t, own, before)
	if got := i.send(t, "POST", "/login", alice, ""); got != 401 {
		t.Errorf("login with the forgotten password: %d", got)
	}
	body, err := json.Marshal(map[string]string{"username": "alice", "password": oneTime})
	if err != nil {
		t.Fatal(err)
	}
	way := i.login(t, string(body))
	for _, request := range [][2]string{{"GET", own}, {"GET", "/promotion"}, {"POST", "/logout"}} {
		if got := i.send(t, request[0], request[1], "", way); got != 401 {
			t.Errorf("%s %s with the token of a one-time password: %d, want 401", request[0], request[1], got)
		}
	}
	change := func(current, bearer string) int {
		body, err := json.Marshal(map[string]string{"current": current, "new": "another battery staple"})
		if err != nil {
			t.Fatal(err)
		}
		return i.send(t, "PUT", own+"/password", string(body), bearer)
	}
	if got := change("not the one", way); got != 422 {
		t.Errorf("change with a wrong current password: %d", got)
	}
	if got := change(oneTime, way); got != 204 {
		t.Fatalf("change: %d", got)
	}
	if got := change(oneTime, way); got != 401 {
		t.Errorf("change again: %d", got)
	}
	if got := i.send(t, "POST", "/login", string(body), ""); got != 401 {
		t.Errorf("login with the used one-time password: %d", got)
	}
	token := i.login(t, `{"username":"alice","password":"another battery staple"}`)
	if got := i.send(t, "GET", own, "", token); got != 200 {
		t.Errorf("the new token is answered with %d", got)
	}
}
