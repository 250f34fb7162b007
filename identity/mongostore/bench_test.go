package mongostore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
)

// BenchmarkRecordAttempt tells what an attempt costs, by how many callers there
// are at once, and how many inserts that makes.
func BenchmarkRecordAttempt(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var inserts atomic.Int64
			s := open(b, Config{Monitor: &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
				if e.CommandName == "insert" {
					inserts.Add(1)
				}
			}}})
			record(b, s, callers, 10*callers) // opens the connections
			inserts.Store(0)
			b.ResetTimer()
			record(b, s, callers, b.N)
			b.ReportMetric(float64(inserts.Load())/float64(b.N), "inserts/op")
		})
	}
}

// record has callers record n attempts.
func record(b *testing.B, s *Store, callers, n int) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for left.Add(-1) >= 0 {
				a := account.Attempt{
					UserID: "01JDXH3T0000000000000000000", At: time.Now(), Outcome: account.OutcomeSuccess,
					IP: "192.0.2.1", RequestID: "3GZYQ5B2X4VJ7N6LHTMWKD2RPA",
				}
				if err := s.RecordAttempt(b.Context(), a); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
}

// BenchmarkLog tells what the log of a campaign costs: an append of one arrival
// and of many, a look at one entry, at the end of a log of 100,000 places, and a
// scan of it.
func BenchmarkLog(b *testing.B) {
	const places = 100_000
	users := func(from, n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("01JDXH3T%018d", from+i)
		}
		return list
	}
	for _, each := range []int{500, 1} {
		s := open(b, Config{Timeout: time.Minute})
		entries := places / each
		docs := make([]logEntry, entries)
		for i := range docs {
			docs[i] = newLogEntry(arrived(int64(i), users(i*each, each)...))
		}
		if _, err := s.db.Collection(campaignLog).InsertMany(b.Context(), docs); err != nil {
			b.Fatal(err)
		}
		next := int64(entries)
		b.Run(fmt.Sprintf("append/users=%d", each), func(b *testing.B) {
			for b.Loop() {
				e := arrived(next, users(int(next), each)...)
				e.Campaign = 2
				if err := s.Append(b.Context(), e); err != nil {
					b.Fatal(err)
				}
				next++
			}
		})
		b.Run(fmt.Sprintf("entry/users=%d", each), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Entry(b.Context(), 1, int64(entries-1)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("no entry/users=%d", each), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Entry(b.Context(), 1, int64(entries)); !errors.Is(err, campaign.ErrNoEntry) {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("scan/users=%d", each), func(b *testing.B) {
			for b.Loop() {
				n := 0
				for e, err := range s.Entries(b.Context(), 1, 0) {
					if err != nil {
						b.Fatal(err)
					}
					n += len(e.Users)
				}
				if n != places {
					b.Fatalf("%d places, want %d", n, places)
				}
			}
		})
		b.Run(fmt.Sprintf("scan of an empty campaign/users=%d", each), func(b *testing.B) {
			for b.Loop() {
				for e, err := range s.Entries(b.Context(), 3, 0) {
					b.Fatal(e, err)
				}
			}
		})
	}
}
