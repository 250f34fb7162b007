package main

import (
	"bytes"
	"context"
	"log/slog"
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
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// TestScripts runs the command line as people do. A script that says `stores`
// gets a MongoDB and a Redis of its own; all others get addresses where nothing
// listens. With EARLYBIRD_UPDATE=1 the golden output in the scripts is replaced
// by what was seen.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	programs := testserver.Programs(t, "earlybird") // as people have it: under the race detector each start of it takes most of a second
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
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
					env.Setenv("RESTRICTED_REDIS_URL", strings.Replace(redisURL, "://", "://restricted:s3cret@", 1))
					env.Setenv("TZ", "UTC")
					env.Setenv("PATH", programs+string(filepath.ListSeparator)+env.Getenv("PATH"))
					env.Setenv("EARLYBIRD_IDENTITY_URL", "http://127.0.0.1:1")
					env.Setenv("EARLYBIRD_GATEWAY_URL", "http://127.0.0.1:1")
					return nil
				},
				Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
					"exits": exits, "stores": func(*testscript.TestScript, bool, []string) {}, "users": users, "claim": claim, "served": served,
					"announced": announced, "acted": acted, "signingkey": signingkey, "attempts": attempts,
					"changed": changed, "logins": logins, "emptied": emptied, "redisconfig": redisConfig, "damaged": damaged, "lost": lost, "mislaid": mislaid, "redisuser": redisUser, "elsewhere": elsewhere, "foreign": foreign, "because": because, "rehearsing": rehearsing,
					"enrols": enrols, "unenrols": unenrols, "did": did,
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

// users creates accounts whose ids are their names in capitals, now or at a time:
// users alice bob@2026-11-22T12:00:00Z.
func users(ts *testscript.TestScript, _ bool, names []string) {
	store := openStore(ts)
	for _, name := range names {
		created := time.Now()
		name, at, given := strings.Cut(name, "@")
		if given {
			var err error
			created, err = time.Parse(time.RFC3339, at)
			ts.Check(err)
		}
		id := strings.ToUpper(name)
		ts.Check(store.CreateUser(context.Background(),
			account.User{ID: id, Username: name, Canonical: name, CreatedAt: created},
			account.Credential{Canonical: name, UserID: id, Password: "none"}))
	}
}

// claim logs users in as far as the campaign is concerned, one after the other.
// Like an identity service it leaves Redis filled.
func claim(ts *testscript.TestScript, _ bool, ids []string) {
	claimBy(ts, mirror.New(mirror.Config{Redis: openRedis(ts)}), ids)
}

// elsewhere logs users in while Redis is another, as after a fault.
func elsewhere(ts *testscript.TestScript, _ bool, ids []string) {
	claimBy(ts, campaigntest.NewMirror(), ids)
}

func claimBy(ts *testscript.TestScript, m campaign.Mirror, ids []string) {
	withReplica(ts, m, func(ctx context.Context, r *campaign.Replica) {
		for _, id := range ids {
			placed := r.Place(ctx, id)
			for placed.Status == campaign.StatusRetry && ctx.Err() == nil { // as a client does
				placed = r.Place(ctx, id)
			}
			ts.Logf("%s: %+v", id, placed)
		}
	})
}

// served runs an identity service's replica of the campaign until Redis has
// everything and a beat.
func served(ts *testscript.TestScript, _ bool, _ []string) {
	claimBy(ts, mirror.New(mirror.Config{Redis: openRedis(ts)}), nil)
}

// withReplica runs what an identity service has of the campaign while do runs,
// and until Redis is complete.
func withReplica(ts *testscript.TestScript, m campaign.Mirror, do func(context.Context, *campaign.Replica)) {
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	r := campaign.NewReplica(campaign.ReplicaConfig{Store: openStore(ts), Mirror: m, Log: slog.New(slog.DiscardHandler)})
	ended := make(chan struct{})
	go func() { _ = r.Run(ctx); close(ended) }()
	began := time.Now()
	until := func(what string, ok func() bool) {
		for !ok() {
			if ctx.Err() != nil {
				ts.Fatalf("%s: not in time", what)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	until("ready", func() bool { return r.Stats().Ready })
	do(ctx, r)
	until("a beat", func() bool {
		state, err := m.State(ctx)
		return err == nil && state.Beat.After(began) && r.Stats().Lag == 0
	})
	stop()
	<-ended
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
