package mongostore

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// However many ask first at the same moment, the database has one id, which
// outlives every process.
func TestOrigin(t *testing.T) {
	url := testserver.Mongo(t)
	const stores = 8
	got := make([]string, stores)
	var all sync.WaitGroup
	for i := range stores {
		s := open(t, Config{URL: url})
		all.Go(func() {
			var err error
			if got[i], err = s.Origin(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	late, err := open(t, Config{URL: url}).Origin(t.Context())
	if err != nil || len(late) != 26 { // 130 bits in base32
		t.Fatalf("origin %q, %v", late, err)
	}
	for i, origin := range got {
		if origin != late {
			t.Errorf("store %d: origin %q, want %q", i, origin, late)
		}
	}
	if other, err := open(t, Config{}).Origin(t.Context()); err != nil || other == late {
		t.Errorf("another database: origin %q, %v", other, err)
	}
}

// Once known it is told without MongoDB, and never before.
func TestOriginWithoutMongoDB(t *testing.T) {
	server := testserver.OwnMongo(t)
	known, late := open(t, Config{URL: server.URL()}), open(t, Config{URL: server.URL()})
	want, err := known.Origin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if got, err := known.Origin(t.Context()); got != want || err != nil {
		t.Errorf("known: %q, %v; want %q", got, err, want)
	}
	if got, err := late.Origin(t.Context()); got != "" || !unavailable.Is(err) {
		t.Errorf("not known: %q, %v; want an outage", got, err)
	}
}

// A document of another shape is not overwritten, nor taken for an id.
func TestOriginDamaged(t *testing.T) {
	s := open(t, Config{})
	if _, err := s.meta().InsertOne(t.Context(), bson.D{{Key: "_id", Value: originID}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Origin(t.Context()); got != "" || err == nil || unavailable.Is(err) {
		t.Errorf("origin %q, %v; want an error", got, err)
	}
}

// An id that another writer has inserted and no majority has yet is not read: it
// may be rolled back. The next call finds it, or makes another. Without the case
// for it in Origin, the error was no outage.
func TestOriginThatIsNotCommittedYet(t *testing.T) {
	target := testserver.Mongo(t)
	want, err := open(t, Config{URL: target}).Origin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, url := newProxy(t, target)
	var committed atomic.Bool
	p.change = func(request, answer []byte) []byte {
		if committed.Load() || !bytes.Contains(request, []byte("find\x00")) {
			return answer
		}
		return withDocument(t, answer, func(bson.D) bson.D {
			cursor := bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "test.meta"}, {Key: "firstBatch", Value: bson.A{}}}
			return bson.D{{Key: "cursor", Value: cursor}, {Key: "ok", Value: 1}}
		})
	}
	s := open(t, Config{URL: url})
	if got, err := s.Origin(t.Context()); got != "" || !unavailable.Is(err) {
		t.Errorf("not committed: %q, %v; want an outage", got, err)
	}
	committed.Store(true)
	if got, err := s.Origin(t.Context()); got != want || err != nil {
		t.Errorf("committed: %q, %v; want %q", got, err, want)
	}
}
