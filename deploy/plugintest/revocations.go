package plugintest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/revocation/revocationtest"
)

// Revocations ends tokens as the identity service does, with its store in
// memory.
type Revocations struct {
	*revocation.Writer
	Store *revocationtest.Memory
	// Stop ends what keeps Redis complete, as an identity service that is down.
	Stop func()
}

// NewRevocations keeps the Redis at url complete until the test ends.
func NewRevocations(t testing.TB, url string) *Revocations {
	t.Helper()
	return NewRevocationsOf(t, url, revocationtest.NewMemory())
}

// NewRevocationsOf is NewRevocations over a store that there was before.
func NewRevocationsOf(t testing.TB, url string, store *revocationtest.Memory) *Revocations {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	feed := revocation.NewFeed(revocation.FeedConfig{Redis: client, Log: log})
	publisher := revocation.NewPublisher(revocation.PublisherConfig{
		Store: store, Redis: client, Feed: feed, Log: log, Interval: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- feed.Run(ctx) }()
	go func() { done <- publisher.Run(ctx) }()
	r := &Revocations{Store: store, Writer: revocation.NewWriter(revocation.WriterConfig{Store: store, Redis: client, Feed: feed})}
	r.Stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		r.Stop()
		_ = client.Close()
	})
	return r
}

// Logout ends one token.
func (r *Revocations) Logout(t testing.TB, jti string) {
	t.Helper()
	if err := r.RevokeToken(context.Background(), jti, time.Now().Add(30*time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// Raise ends every token of a user up to a generation, and returns the next.
func (r *Revocations) Raise(t testing.TB, user string, current int64) int64 {
	t.Helper()
	next, err := r.RaiseGeneration(context.Background(), user, current)
	if err == nil {
		err = r.AnnounceGeneration(context.Background(), user, next)
	}
	if err != nil {
		t.Fatal(err)
	}
	return next
}
