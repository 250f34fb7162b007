package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/revocation"
)

// judged is how a judgement comes out of Examine.
func judged(detail string, err error) Result {
	return Check{Look: func(context.Context) (string, error) { return detail, err }}.run(context.Background())
}

func wants(t *testing.T, got Result, level, detail, hint string) {
	t.Helper()
	if got.Level() != level || !strings.Contains(got.Detail, detail) || !strings.Contains(got.Hint, hint) {
		t.Errorf("%s: %q, hint %q; want %s: %q, hint %q", got.Level(), got.Detail, got.Hint, level, detail, hint)
	}
}

func TestMongo(t *testing.T) {
	wants(t, judged(Indexes(nil)), "ok", "all are there", "")
	faults := []mongostore.IndexFault{{Collection: "logins", Name: "attempts", Problem: "is missing"}, {Collection: "logins", Name: "retention", Problem: "deletes after 400d, not 800d"}}
	wants(t, judged(Indexes(faults)), "warning", "logins.attempts is missing; logins.retention deletes after 400d, not 800d", "restart identity")

	wants(t, judged(Replication(mongostore.Deployment{FerretDB: true})), "warning", "FerretDB", "replica set of three")
	wants(t, judged(Replication(mongostore.Deployment{Version: "8.0.1"})), "warning", "a server alone", "replica set")
	wants(t, judged(Replication(mongostore.Deployment{Set: "rs0", Members: 1})), "warning", "data on 1", "replica set of three")
	wants(t, judged(Replication(mongostore.Deployment{Set: "rs0", Members: 3})), "ok", "rs0", "")
	wants(t, judged(Replication(mongostore.Deployment{Sharded: true, Version: "8.0.1"})), "ok", "sharded cluster", "")
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	wants(t, judged(Clock(now, now, 0)), "ok", "agree within 1s", "")
	wants(t, judged(Clock(now.Add(5*time.Second), now, 0)), "ok", "agree within 5s", "")
	wants(t, judged(Clock(now.Add(6*time.Second), now, 0)), "failed", "6s ahead of MongoDB's", "NTP")
	wants(t, judged(Clock(now.Add(-time.Hour), now, 0)), "failed", "1h0m0s behind MongoDB's", "NTP")
	wants(t, judged(Clock(now.Add(6*time.Second), now, 2*time.Second)), "ok", "agree within 6s", "") // a slow answer proves nothing
}

func TestOrigin(t *testing.T) {
	ours, theirs := mirror.Summary{MirrorState: campaign.MirrorState{Origin: "OURS"}}, mirror.Summary{MirrorState: campaign.MirrorState{Origin: "THEIRS"}}
	wants(t, judged(Origin("OURS", ours, revocation.State{Origin: "OURS"})), "ok", "filled from this database", "")
	wants(t, judged(Origin("OURS", mirror.Summary{}, revocation.State{})), "ok", "empty", "")
	wants(t, judged(Origin("OURS", theirs, revocation.State{Origin: "OURS"})), "failed", "the campaign of another database, origin THEIRS", "redis adopt")
	wants(t, judged(Origin("OURS", ours, revocation.State{Origin: "THEIRS"})), "failed", "the revocations of another database", "redis adopt")
}

func TestMirror(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	none := campaign.Place{Seq: -1}
	holds := func(change func(*mirror.Summary)) mirror.Summary {
		m := mirror.Summary{MirrorState: campaign.MirrorState{Origin: "OURS", Place: none, Stream: none, Intact: true, Beat: now.Add(-time.Second)}}
		change(&m)
		return m
	}
	for _, tt := range []struct {
		name                string
		change              func(*mirror.Summary)
		level, detail, hint string
	}{
		{"complete", func(*mirror.Summary) {}, "ok", "intact, 0 entries behind, found complete 1s ago", ""},
		{"empty", func(m *mirror.Summary) { *m = mirror.Summary{} }, "failed", "holds nothing", "is an identity service running"},
		{"a key is gone", func(m *mirror.Summary) { m.Intact = false }, "failed", "missing", "noeviction"},
		{"never complete", func(m *mirror.Summary) { m.Beat = time.Time{} }, "failed", "complete yet", "is an identity service running"},
		{"long ago", func(m *mirror.Summary) { m.Beat = now.Add(-16 * time.Second) }, "failed", "complete 16s ago", "is an identity service running"},
		{"ahead", func(m *mirror.Summary) { m.Place = campaign.Place{Epoch: 1 << 20, Seq: 3} }, "failed", "up to 1048576:3", "campaign restore"},
		{"its stream is ahead", func(m *mirror.Summary) { m.Stream = campaign.Place{Epoch: 1 << 20, Seq: 3}; m.Intact = false }, "failed", "MongoDB only up to", "campaign restore"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wants(t, judged(Mirror(&campaign.Log{Origin: "OURS"}, holds(tt.change), now)), tt.level, tt.detail, tt.hint)
		})
	}
}

func TestRevocations(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	well := revocation.State{Origin: "OURS", Whole: true, Beat: now}
	wants(t, judged(Revocations(well, now)), "ok", "whole", "")
	wants(t, judged(Revocations(well, now.Add(16*time.Second))), "failed", "16s ago", "is an identity service running")
	wants(t, judged(Revocations(revocation.State{}, now)), "failed", "no revocations", "is an identity service running")
	wants(t, judged(Revocations(revocation.State{Origin: "OURS", Beat: now}, now)), "failed", "missing", "noeviction")
	wants(t, judged(Revocations(revocation.State{Origin: "OURS", Whole: true}, now)), "failed", "yet", "is an identity service running")
}

func TestRights(t *testing.T) {
	noPerm := errors.New("NOPERM User edge has no permissions to run the 'xadd' command")
	wants(t, judged(Rights([]Right{{"get", nil}, {"set", nil}})), "ok", "all 2 things", "")
	wants(t, judged(Rights([]Right{{"get", nil}, {"set", noPerm}, {"xadd", noPerm}})), "failed", "may not: +set +xadd", "ACL SETUSER")
	wants(t, judged(Rights([]Right{{"set", errors.New("READONLY You can't write against a read only replica.")}})), "failed", "replica", "--redis-url")
	wants(t, judged(Rights([]Right{{"set", errors.New("OOM command not allowed when used memory > 'maxmemory'.")}})), "failed", "full", "maxmemory")
	wants(t, judged(Rights([]Right{{"set", errors.New("broken pipe")}})), "failed", "set: broken pipe", "")
}

// TestThen: what depends on a server that does not answer is not looked at.
func TestThen(t *testing.T) {
	down, mild := errors.New("down"), error(&Warning{"mild", "do it"})
	for _, tt := range []struct {
		name  string
		first error
		want  []string
	}{
		{"well", nil, []string{"first ok", "second warning", "other failed"}},
		{"a warning is no reason to stop", mild, []string{"first warning", "second warning", "other failed"}},
		{"down", down, []string{"first failed", "other failed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			says := func(err error) func(context.Context) (string, error) {
				return func(context.Context) (string, error) { return "", err }
			}
			var got []string
			for _, r := range Examine(t.Context(), []Check{
				{Name: "first", Target: "there", Look: says(tt.first), Then: []Check{{Name: "second", Look: says(mild)}}},
				{Name: "other", Target: "there", Look: says(down)},
			}) {
				if r.Target != "there" {
					t.Errorf("%s has the target %q", r.Check, r.Target)
				}
				got = append(got, r.Check+" "+r.Level())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
