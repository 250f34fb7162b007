package command

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// testStores are a MongoDB and a Redis that are a test's own.
type testStores struct {
	mongoURL string
	server   *testserver.RedisServer
	mongo    *mongostore.Store
	redis    redis.UniversalClient
}

func newStores(t *testing.T) *testStores {
	t.Helper()
	s := &testStores{mongoURL: testserver.Mongo(t), server: testserver.Redis(t)}
	var err error
	if s.redis, err = redisdb.Connect(redisdb.Config{URL: s.server.URL()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.redis.Close() })
	quiet := slog.New(slog.DiscardHandler)
	if s.mongo, err = mongostore.Open(t.Context(), mongostore.Config{URL: s.mongoURL, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.mongo.Close(context.Background()) })
	return s
}

// replica runs what an identity service has of the campaign, until the test
// ends.
func (s *testStores) replica(t *testing.T) *campaign.Replica {
	t.Helper()
	r := campaign.NewReplica(campaign.ReplicaConfig{
		Store: s.mongo, Mirror: mirror.New(mirror.Config{Redis: s.redis}), Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = r.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	testwait(t, "a replica that is ready", func() bool { return r.Stats().Ready })
	return r
}

func testwait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func place(t *testing.T, r *campaign.Replica, users ...string) {
	t.Helper()
	for _, user := range users {
		testwait(t, user+" is placed", func() bool { return r.Place(t.Context(), user).Status != campaign.StatusRetry })
	}
}

// latest is the newest campaign, from the log.
func (s *testStores) latest(t *testing.T) *campaign.Fold {
	t.Helper()
	log, err := campaign.NewAdmin(campaign.AdminConfig{Store: s.mongo}).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return log.Latest()
}

// run runs a command line on these stores. It belongs to this test alone, so it
// is told the addresses by flags.
func (s *testStores) run(ctx context.Context, in io.Reader, commandLine string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = Run(ctx, s.argv(commandLine), Streams{In: in, Out: &o, Err: &e})
	return status, o.String(), e.String()
}

func (s *testStores) argv(commandLine string) []string {
	return append([]string{"earlybird", "--mongo-url", s.mongoURL, "--redis-url", s.server.URL()}, strings.Fields(commandLine)...)
}

func (s *testStores) mustRun(t *testing.T, commandLine string) string {
	t.Helper()
	status, out, errs := s.run(t.Context(), strings.NewReader(""), commandLine)
	if status != exitDone {
		t.Fatalf("%s: exit %d: %s", commandLine, status, errs)
	}
	return out
}
