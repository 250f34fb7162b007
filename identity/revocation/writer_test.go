package revocation

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/token"
)

// sink is a Store that takes everything.
type sink struct{}

func (sink) Origin(context.Context) (string, error) { return "here", nil }

func (sink) AddRevocation(context.Context, Revocation) error { return nil }

func (sink) Revocations(context.Context, time.Time, time.Time) iter.Seq2[Revocation, error] {
	return func(func(Revocation, error) bool) {}
}

func (sink) PruneRevocations(context.Context, time.Time) error { return nil }

// What was announced is not pending, though nobody has read it yet; it is again
// when the stream is read anew without it.
func TestPending(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	feed := NewFeed(FeedConfig{Redis: client})
	feed.pos.load = 1
	w := NewWriter(WriterConfig{Store: sink{}, Redis: client, Feed: feed})
	err := errors.New("not tried")
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); { // a busy machine may miss the time limit of one
		err = w.RevokeToken(t.Context(), "T", time.Now().Add(time.Hour))
	}
	if err != nil || w.Pending("T") {
		t.Errorf("%v, pending %t after it was announced", err, w.Pending("T"))
	}
	if w.Pending("another") {
		t.Error("a token that was not revoked is pending")
	}
	feed.pos.load++
	if !w.Pending("T") {
		t.Error("not pending, though the stream that is read now did not bring it")
	}
	server.Close()
	if err := w.RevokeToken(t.Context(), "U", time.Now().Add(time.Hour)); err == nil || !w.Pending("U") {
		t.Errorf("%v, pending %t without Redis", err, w.Pending("U"))
	}
}

// Without Redis the store is how replicas hear of each other.
func TestPace(t *testing.T) {
	p := NewPublisher(PublisherConfig{})
	for _, test := range []struct {
		name  string
		lost  bool
		swept time.Time
		want  time.Duration
	}{
		{"all is well", false, noon, 5 * time.Second},
		{"redis is down", true, noon, time.Second},
		{"nothing was ever swept", false, time.Time{}, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.lost, p.swept = test.lost, test.swept
			if got := p.pace(); got != test.want {
				t.Errorf("pace = %s, want %s", got, test.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	feed := NewFeed(FeedConfig{})
	feed.known.add(Revocation{TokenID: "dead", Until: noon}, 0, 0)
	feed.known.add(Revocation{UserID: "alice", Generation: 2, Until: noon}, 0, 0)
	for _, test := range []struct {
		name   string
		ready  bool
		claims token.Claims
		want   error
	}{
		{"not ready", false, token.Claims{ID: "live", Subject: "bob"}, token.ErrNotReady},
		{"not ready, though known to be dead", false, token.Claims{ID: "dead", Subject: "bob"}, token.ErrNotReady},
		{"good", true, token.Claims{ID: "live", Subject: "alice", Generation: 2}, nil},
		{"token", true, token.Claims{ID: "dead", Subject: "bob"}, token.ErrRevoked},
		{"generation", true, token.Claims{ID: "live", Subject: "alice", Generation: 1}, token.ErrRevoked},
	} {
		t.Run(test.name, func(t *testing.T) {
			feed.ready.Store(test.ready)
			if err := feed.Check(test.claims); !errors.Is(err, test.want) {
				t.Errorf("check = %v, want %v", err, test.want)
			}
		})
	}
}
