package main

import (
	"os"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// Logins that no edge has counted count all the same, in their order: those that
// reach identity directly, and also when it is killed right after its answers and
// another replica takes over. Checked by answering before the login is expected,
// and by a replica that does not sweep.
func TestLoginsAreMadeGood(t *testing.T) {
	t.Parallel() // it waits for 10 s
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	url, pid := process(t, "--redis-url", redis.URL(), "--mongo-url", mongo)
	dying := &instance{url: url, logs: &logs{}}
	dying.until(t, "/readyz", 200)
	startCampaign(t, mongo, redis.URL())
	people := []string{"zoe", "bob", "amy"}
	for _, name := range people {
		if status, said := dying.do(t, "POST", "/users", newcomer(name), ""); status != 201 {
			t.Fatalf("POST /users: %d %v", status, said)
		}
	}
	var tokens []string
	for _, name := range people {
		tokens = append(tokens, dying.login(t, newcomer(name)))
	}
	if killed, err := os.FindProcess(pid); err != nil || killed.Kill() != nil {
		t.Fatalf("kill it: %v", err)
	}
	next := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo})
	next.until(t, "/readyz", 200)
	for deadline, n := time.Now().Add(time.Minute), 0; n < len(people); {
		status, said := next.do(t, "GET", "/promotion", "", tokens[n])
		switch {
		case status == 200 && said["rank"] == float64(n+1):
			n++
		case status == 200:
			t.Fatalf("%s has rank %v, want %d", people[n], said["rank"], n+1)
		case time.Now().After(deadline):
			t.Fatalf("%s holds no grant: %d %v", people[n], status, said)
		default:
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// startCampaign opens a campaign for the first 100, as the command line does.
func startCampaign(t *testing.T, mongoURL, redisURL string) {
	t.Helper()
	store, err := mongostore.Open(t.Context(), mongostore.Config{URL: mongoURL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close(t.Context()) }()
	client, err := redisdb.Connect(redisdb.Config{URL: redisURL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	admin := campaign.NewAdmin(campaign.AdminConfig{Ledger: store, Board: campaign.NewBoard(client), By: "test"})
	if _, err := admin.Start(t.Context(), campaign.StartRequest{Name: "L", Slots: 100, Discount: 30}); err != nil {
		t.Fatal(err)
	}
}
