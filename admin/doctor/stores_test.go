package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/mongostore"
)

// judged is how a judgement comes out of Examine.
func judged(detail string, err error) Result {
	return Check{Look: func(context.Context) (string, error) { return detail, err }}.run(context.Background())
}

func TestRedisSettings(t *testing.T) {
	tests := []struct {
		name     string
		settings RedisSettings
		judge    func(RedisSettings) (string, error)
		level    string
		detail   string
		hint     string
	}{
		{"noeviction", RedisSettings{Policy: "noeviction", MaxMemory: "100"}, RedisSettings.Eviction, "ok", "noeviction", ""},
		{"full", RedisSettings{Policy: "noeviction", MaxMemory: "100", UsedMemory: "101"}, RedisSettings.Eviction, "failed", "memory is full", "maxmemory to more"},
		{"not full", RedisSettings{Policy: "noeviction", MaxMemory: "100", UsedMemory: "99"}, RedisSettings.Eviction, "ok", "noeviction", ""},
		{"eviction with a bound", RedisSettings{Policy: "allkeys-lru", MaxMemory: "100"}, RedisSettings.Eviction, "failed", "deletes", "CONFIG SET maxmemory-policy noeviction"},
		{"eviction without a bound", RedisSettings{Policy: "allkeys-lru", MaxMemory: "0"}, RedisSettings.Eviction, "warning", "harmless only", "noeviction"},
		{"policy hidden", RedisSettings{WhyUnreadable: "NOPERM"}, RedisSettings.Eviction, "warning", "NOPERM", "console"},
		{"append-only", RedisSettings{AppendOnly: "yes"}, RedisSettings.Append, "ok", "written down", ""},
		{"nothing is written", RedisSettings{AppendOnly: "no"}, RedisSettings.Append, "failed", "loses grants", "CONFIG SET appendonly yes"},
		{"log hidden", RedisSettings{}, RedisSettings.Append, "warning", "not shown", "console"},
		{"synced", RedisSettings{AppendFsync: "always"}, RedisSettings.Fsync, "ok", "on disk", ""},
		{"synced each second", RedisSettings{AppendFsync: "everysec", MinReplicas: "0"}, RedisSettings.Fsync, "failed", "power failure", "appendfsync always"},
		{"replicas confirm", RedisSettings{AppendFsync: "everysec", MinReplicas: "1"}, RedisSettings.Fsync, "warning", "replicas", "--redis-replicas"},
		{"sync hidden", RedisSettings{WhyUnreadable: "unknown command"}, RedisSettings.Fsync, "warning", "unknown command", "console"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wants(t, judged(tt.judge(tt.settings)), tt.level, tt.detail, tt.hint) })
	}
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
