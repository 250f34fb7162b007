package mongostore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/earlybird/earlybird/identity/account"
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
