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
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// testStores are a MongoDB and a Redis that are a test's own, open to claims.
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
	if err := s.keeper().Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// keeper is what a running identity service has.
func (s *testStores) keeper() *keeper.Keeper {
	return keeper.New(keeper.Config{Ledger: s.mongo, Redis: s.redis, Claimer: s.claimer(), Log: slog.New(slog.DiscardHandler)})
}

func (s *testStores) claimer() *campaign.Claimer {
	return campaign.NewClaimer(campaign.ClaimerConfig{Redis: s.redis, Timeout: 5 * time.Second})
}

func (s *testStores) claim(t *testing.T, users ...string) {
	t.Helper()
	for _, user := range users {
		if out := s.claimer().Claim(t.Context(), user); out.State == campaign.StatePending {
			t.Fatalf("claim of %s: %+v", user, out)
		}
	}
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
