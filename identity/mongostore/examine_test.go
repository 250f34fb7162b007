package mongostore

import (
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/earlybird/earlybird/identity/oldcampaign"
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
	missing, wanted, err := s.MissingIndexes(t.Context())
	if err != nil || len(missing) > 0 {
		t.Fatalf("missing %v, wanted %v, %v after Open", missing, wanted, err)
	}
	for _, w := range wanted {
		if w.Name != retentionIndex && w.Name != "expiry" { // which not every server has
			t.Errorf("%s.%s is wanted after Open", w.Collection, w.Name)
		}
	}
	if err := s.grants().Indexes().DropOne(t.Context(), "campaign_rank"); err != nil {
		t.Fatal(err)
	}
	missing, _, err = s.MissingIndexes(t.Context())
	if err != nil || len(missing) != 1 || missing[0].Collection != "grants" {
		t.Errorf("missing %v, %v, want that of grants", missing, err)
	}
	if err := s.revocations().Indexes().DropOne(t.Context(), "latest"); err != nil {
		t.Fatal(err)
	}
	latest := func(i Index) bool { return i.Collection == "revocations" && i.Name == "latest" }
	if _, wanted, err = s.MissingIndexes(t.Context()); err != nil || !slices.ContainsFunc(wanted, latest) {
		t.Errorf("wanted %v, %v, want that of revocations", wanted, err)
	}
}

func TestRecordCampaignAction(t *testing.T) {
	s := open(t, Config{})
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	want := campaign.Action{At: at, By: "alice", Name: "campaign restore", CampaignID: "1", Result: campaign.ResultDone, Detail: "opened"}
	if err := s.RecordCampaignAction(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	var got campaignAction
	if err := s.db.Collection("actions").FindOne(t.Context(), bson.D{}).Decode(&got); err != nil {
		t.Fatal(err)
	}
	have := campaign.Action{At: got.At.UTC(), By: got.By, Name: got.Name, CampaignID: got.Campaign, Result: got.Result, Detail: got.Detail}
	if have != want {
		t.Errorf("stored %+v, want %+v", have, want)
	}
}
