package mongostore

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/deploy/testserver"
)

func TestDeployment(t *testing.T) {
	d, err := open(t, Config{}).Deployment(t.Context())
	if err != nil || d.Version == "" {
		t.Fatalf("deployment %+v, %v", d, err)
	}
	if d.FerretDB && (d.Set != "" || d.Sharded) {
		t.Errorf("deployment %+v: the embedded server is no replica set", d)
	}
	if !d.FerretDB && d.Set == "" && !d.Sharded {
		t.Errorf("deployment %+v: neither FerretDB nor a replica set, while the driver's tests need one of them", d)
	}
}

// TestIndexFaults: what differs from what Open makes is found, and Open mends it.
func TestIndexFaults(t *testing.T) {
	url := testserver.Mongo(t)
	s := open(t, Config{URL: url})
	expiring := func(f IndexFault) bool { return f.Name == "retention" || f.Name == "expiry" } // which not every server has
	faults := func() []IndexFault {
		t.Helper()
		found, err := s.IndexFaults(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(found, expiring)
	}
	if found := faults(); len(found) > 0 {
		t.Fatalf("after Open: %v", found)
	}
	attempts := s.logins().Indexes()
	if err := attempts.DropOne(t.Context(), "attempts"); err != nil {
		t.Fatal(err)
	}
	if err := s.revocations().Indexes().DropOne(t.Context(), "latest"); err != nil {
		t.Fatal(err)
	}
	if found := faults(); !slices.Equal(found, []IndexFault{{"logins", "attempts", "is missing"}, {"revocations", "latest", "is missing"}}) {
		t.Errorf("without two of them: %v", found)
	}
	_, err := attempts.CreateOne(t.Context(), mongo.IndexModel{ // as it once was
		Keys: bson.D{{Key: "user_id", Value: 1}, {Key: "at", Value: -1}}, Options: options.Index().SetName("attempts"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if found := faults(); len(found) != 2 || !strings.Contains(found[0].Problem, "has the keys") {
		t.Errorf("with other keys: %v", found)
	}
	var log bytes.Buffer
	s = open(t, Config{URL: url, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if found := faults(); len(found) > 0 || log.Len() > 0 {
		t.Errorf("after another Open: %v, log %s", found, &log)
	}
}

// TestIndexesGetTheTimeTheyNeed: the limit of other operations would cut off the
// build of an index, which begins again with the next attempt.
func TestIndexesGetTheTimeTheyNeed(t *testing.T) {
	var built, limited int
	open(t, Config{Timeout: 2 * time.Second, Monitor: &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName != "createIndexes" || e.Command.Lookup("createIndexes").StringValue() != "logins" {
			return
		}
		built++
		if most, ok := e.Command.Lookup("maxTimeMS").AsInt64OK(); ok && time.Duration(most)*time.Millisecond < time.Hour {
			limited++
		}
	}}})
	if built == 0 || limited > 0 {
		t.Errorf("%d indexes of logins were made, %d of them with less than an hour", built, limited)
	}
}

// TestCompareIndexes: what a server reports of its indexes, FerretDB having none
// that expire.
func TestCompareIndexes(t *testing.T) {
	at, err := bson.Marshal(bson.D{{Key: "at", Value: int32(1)}})
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * 60 * 60
	seconds := func(n int32) *int32 { return &n }
	tests := []struct {
		name      string
		retention time.Duration
		seconds   *int32
		want      string
	}{
		{"the same", 400 * 24 * time.Hour, seconds(400 * day), ""},
		{"another", 800 * 24 * time.Hour, seconds(400 * day), "deletes after 400d, not 800d"},
		{"in hours", 36 * time.Hour, seconds(day), "deletes after 1d, not 36h0m0s"},
		{"nothing was set", 0, seconds(800 * day), ""},
		{"no expiry", 0, nil, "does not expire anything"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := (&Store{retention: tt.retention}).indexes()
			i := all[slices.IndexFunc(all, func(i index) bool { return i.name == "retention" })]
			have := mongo.IndexSpecification{Name: "retention", KeysDocument: at, ExpireAfterSeconds: tt.seconds}
			if got := i.compare([]mongo.IndexSpecification{have}); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestRecordAction(t *testing.T) {
	s := open(t, Config{})
	want := Action{
		At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), By: "alice", Name: "campaign pause", Campaign: 1, UserID: "u",
		Entry: "1:0000000003", Reason: "asked for it", Result: ResultDone, Detail: "opened",
	}
	if err := s.RecordAction(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	var got Action
	if err := s.db.Collection("actions").FindOne(t.Context(), bson.D{}).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.At = got.At.UTC(); got != want {
		t.Errorf("stored %+v, want %+v", got, want)
	}
}

// Actions come in order of time, whoever recorded them first.
func TestActions(t *testing.T) {
	s := open(t, Config{})
	at := func(minute int, by, user string) Action {
		return Action{At: time.Date(2026, 11, 22, 12, minute, 0, 0, time.UTC), By: by, Name: "n", UserID: user, Result: ResultDone}
	}
	all := []Action{at(1, "ann", "u"), at(2, "bob", "w"), at(3, "ann", "v"), at(4, "bob", "u")}
	all[1].UserID, all[1].Customer = "", "c"
	for _, i := range []int{2, 0, 3, 1} {
		if err := s.RecordAction(t.Context(), all[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		filter ActionFilter
		want   []Action
	}{
		{"all", ActionFilter{}, all},
		{"since", ActionFilter{Since: all[2].At}, all[2:]},
		{"since later", ActionFilter{Since: all[3].At.Add(1e6)}, nil},
		{"by one", ActionFilter{By: "ann"}, []Action{all[0], all[2]}},
		{"by nobody", ActionFilter{By: "$ne"}, nil},
		{"on one", ActionFilter{UserID: "u"}, []Action{all[0], all[3]}},
		{"on a customer", ActionFilter{Customer: "c"}, []Action{all[1]}},
		{"on either", ActionFilter{Customer: "c", UserID: "v"}, all[1:3]},
		{"by one since", ActionFilter{By: "bob", Since: all[2].At}, all[3:]},
	} {
		var got []Action
		for a, err := range s.Actions(t.Context(), tt.filter) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, a)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
