package mongostore

import (
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
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

func TestMissingIndexes(t *testing.T) {
	s := open(t, Config{})
	missing, err := s.MissingIndexes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		if m.Name != retentionIndex && m.Name != "expiry" { // which not every server has
			t.Errorf("%s.%s is missing after Open", m.Collection, m.Name)
		}
	}
	if err := s.revocations().Indexes().DropOne(t.Context(), "latest"); err != nil {
		t.Fatal(err)
	}
	latest := func(i Index) bool { return i.Collection == "revocations" && i.Name == "latest" }
	if missing, err = s.MissingIndexes(t.Context()); err != nil || !slices.ContainsFunc(missing, latest) {
		t.Errorf("missing %v, %v, want that of revocations", missing, err)
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
