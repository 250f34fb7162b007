package testserver_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/deploy/testserver"
)

func TestMongoGivesEachCallerAnEmptyDatabase(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		url := testserver.Mongo(t)
		parsed, err := connstring.ParseAndValidate(url)
		if err != nil {
			t.Fatal(err)
		}
		client, err := mongo.Connect(options.Client().ApplyURI(url))
		if err != nil {
			t.Fatal(err)
		}
		users := client.Database(parsed.Database).Collection("users")
		if n, err := users.CountDocuments(ctx, bson.D{}); err != nil || n != 0 {
			t.Fatalf("a fresh database counts %d users, %v; want 0", n, err)
		}
		if _, err := users.InsertOne(ctx, bson.D{{Key: "_id", Value: "u1"}}); err != nil {
			t.Fatal(err)
		}
		_ = client.Disconnect(ctx)
	}
}

func TestRedisKeepsItsDataThroughKill(t *testing.T) {
	server := testserver.Redis(t)
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := client.Get(t.Context(), "k").Err(); err == nil {
		t.Fatal("a killed server answers")
	}
	server.Start()
	if got := client.Get(t.Context(), "k").Val(); got != "v" {
		t.Fatalf("after kill and start: %q, want v", got)
	}
	server.Stop()
	server.Start()
	if got := client.Get(t.Context(), "k").Val(); got != "v" {
		t.Fatalf("after stop and start: %q, want v", got)
	}
}

// TestRedisServerIsTheNamedOne: so that every test can be run on another server.
func TestRedisServerIsTheNamedOne(t *testing.T) {
	program, err := exec.LookPath(cmp.Or(os.Getenv("EARLYBIRD_TEST_REDIS_SERVER"), "redis-server"))
	if err != nil {
		testserver.Redis(t) // skips or fails
	}
	started := filepath.Join(t.TempDir(), "started")
	named := filepath.Join(t.TempDir(), "another-server")
	script := fmt.Sprintf("#!/bin/sh\necho >>'%s'\nexec '%s' \"$@\"\n", started, program)
	if err := os.WriteFile(named, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EARLYBIRD_TEST_REDIS_SERVER", named)
	sentinel := testserver.Redis(t).Sentinel()
	testserver.RedisCluster(t)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", sentinel); err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the sentinel does not listen")
		}
	}
	if starts, err := os.ReadFile(started); err != nil || len(starts) != 3 {
		t.Errorf("the named server was started %d times, %v; want a server, a sentinel and a cluster", len(starts), err)
	}
}

func TestRedisTakesArguments(t *testing.T) {
	server := testserver.Redis(t, "--requirepass", "secret")
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.Password = "secret"
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}
