package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/redisdb"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"earlybird": main})
}

// TestScripts runs the command line as people do. A script that says `stores`
// gets a MongoDB and a Redis of its own; all others get addresses where nothing
// listens. With EARLYBIRD_UPDATE=1 the golden output in the scripts is replaced
// by what was seen.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			mongoURL, redisURL := "mongodb://127.0.0.1:1/nowhere?serverSelectionTimeoutMS=50", "redis://127.0.0.1:1/0"
			if bytes.Contains(text, []byte("\nstores\n")) {
				mongoURL, redisURL = testserver.Mongo(t), testserver.Redis(t).URL()
			}
			testscript.Run(t, testscript.Params{
				Files:               []string{file},
				UpdateScripts:       os.Getenv("EARLYBIRD_UPDATE") == "1",
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup: func(env *testscript.Env) error {
					env.Setenv("EARLYBIRD_MONGO_URL", mongoURL)
					env.Setenv("EARLYBIRD_REDIS_URL", redisURL)
					env.Setenv("EARLYBIRD_IDENTITY_URL", "http://127.0.0.1:1")
					env.Setenv("EARLYBIRD_GATEWAY_URL", "http://127.0.0.1:1")
					return nil
				},
				Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
					"exits": exits, "stores": func(*testscript.TestScript, bool, []string) {}, "users": users, "claim": claim, "repair": repair,
					"announced": announced, "acted": acted, "signingkey": signingkey, "attempts": attempts,
					"changed": changed, "logins": logins, "grant": grant, "emptied": emptied, "redisconfig": redisConfig,
				},
			})
		})
	}
}

// exits runs earlybird and wants this exit status: exits 2 campaign bogus.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("earlybird", args[1:]...)
	got := 0
	if err != nil {
		const status = "exit status "
		at := strings.LastIndex(err.Error(), status)
		if at < 0 {
			ts.Fatalf("earlybird %q did not run: %v", args[1:], err)
		}
		got, err = strconv.Atoi(err.Error()[at+len(status):])
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("earlybird %q: exit status %d, want %d", args[1:], got, want)
	}
}

// users creates accounts whose ids are their names in capitals.
func users(ts *testscript.TestScript, _ bool, names []string) {
	store := openStore(ts)
	for _, name := range names {
		id := strings.ToUpper(name)
		ts.Check(store.CreateUser(context.Background(),
			account.User{ID: id, Username: name, Canonical: name, CreatedAt: time.Now()},
			account.Credential{Canonical: name, UserID: id, Password: "none"}))
	}
}

// repair opens Redis to claims, as a running identity service does.
func repair(ts *testscript.TestScript, _ bool, _ []string) {
	ctx := context.Background()
	store := openStore(ts)
	client := openRedis(ts)
	ts.Check(keeper.New(keeper.Config{
		Ledger: store, Redis: client, Claimer: campaign.NewClaimer(campaign.ClaimerConfig{Redis: client}),
	}).Repair(ctx))
}

// claim logs users in as far as the campaign is concerned, and stores their
// grants as identity does.
func claim(ts *testscript.TestScript, _ bool, ids []string) {
	ctx := context.Background()
	store := openStore(ts)
	client := openRedis(ts)
	claimer := campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: 5 * time.Second})
	for i, id := range ids {
		outcome := claimer.Claim(ctx, id)
		ts.Logf("%s: %+v", id, outcome)
		if outcome.State != campaign.StateGranted {
			continue
		}
		at := time.Date(2026, 11, 22, 12, 0, i, 0, time.UTC)
		_, err := store.AddGrants(ctx, []campaign.Grant{{CampaignID: outcome.CampaignID, UserID: id, Rank: outcome.Rank, GrantedAt: at}})
		ts.Check(err)
	}
}

func openStore(ts *testscript.TestScript) *mongostore.Store {
	store, err := mongostore.Open(context.Background(), mongostore.Config{URL: ts.Getenv("EARLYBIRD_MONGO_URL")})
	ts.Check(err)
	ts.Defer(func() { _ = store.Close(context.Background()) })
	return store
}

func openRedis(ts *testscript.TestScript) redis.UniversalClient {
	client, err := redisdb.Connect(redisdb.Config{URL: ts.Getenv("EARLYBIRD_REDIS_URL")})
	ts.Check(err)
	ts.Defer(func() { _ = client.Close() })
	return client
}
