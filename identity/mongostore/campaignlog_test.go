package mongostore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// The embedded server takes every read concern and ignores it, and it is alone:
// what a majority and a linearizable read mean can be held on
// campaigntest.Cluster only. TestLogCommands holds the store to asking for them.
func TestCampaignLog(t *testing.T) {
	campaigntest.RunStore(t, func(t *testing.T) campaigntest.StoreSubject {
		s := open(t, Config{})
		return campaigntest.StoreSubject{Store: s, Damage: func(id string, how campaigntest.Damage) { damage(t, s, id, how) }}
	})
}

func damage(t *testing.T, s *Store, id string, how campaigntest.Damage) {
	t.Helper()
	c, filter := s.db.Collection(campaignLog), bson.D{{Key: "_id", Value: id}}
	set := func(member, value string) error {
		_, err := c.UpdateOne(t.Context(), filter, bson.D{{Key: "$set", Value: bson.D{{Key: member, Value: value}}}})
		return err
	}
	var err error
	switch how {
	case campaigntest.DamageGap:
		_, err = c.DeleteOne(t.Context(), filter)
	case campaigntest.DamageChain:
		err = set("hash", strings.Repeat("0", 64))
	case campaigntest.DamageKind:
		err = set("kind", "future")
	case campaigntest.DamageForeign:
		_, err = c.ReplaceOne(t.Context(), filter, bson.D{{Key: "hello", Value: "world"}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// paused and arrived are entries that by themselves tell who wrote them.
func paused(seq int64, by string) campaign.Entry {
	return campaign.Entry{Campaign: 1, Seq: seq, Kind: campaign.KindPause, At: time.UnixMilli(seq).UTC(), ID: by, By: by, Limit: 1}
}

func arrived(seq int64, users ...string) campaign.Entry {
	return campaign.Entry{Campaign: 1, Seq: seq, Kind: campaign.KindArrive, At: time.UnixMilli(seq).UTC(), ID: "R", Users: users, First: 1}
}

// TestLogDocument shows the documents as they are documented.
func TestLogDocument(t *testing.T) {
	hash := strings.Repeat("0", 64)
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	settings := campaign.Settings{Name: "Spring", Slots: 100, Waitlist: 10, Discount: 20, StartsAt: day}
	rehearsal := campaign.Settings{Name: "Probe", Slots: 1, StartsAt: day, Rehearsal: true}
	for _, test := range []struct {
		name  string
		entry campaign.Entry
		want  string
	}{
		{"start", campaign.Entry{Kind: campaign.KindStart, Limit: 100, By: "ann", Origin: "O", Epoch: 1 << 20, Settings: &settings}, `
			"limit":{"$numberLong":"100"},"by":"ann","name":"Spring","description":"","discount":{"$numberLong":"20"},
			"slots":{"$numberLong":"100"},"waitlist":{"$numberLong":"10"},"starts_at":{"$date":{"$numberLong":"1772323200000"}},
			"origin":"O","epoch":{"$numberLong":"1048576"}`},
		{"change", campaign.Entry{Kind: campaign.KindChange, Limit: 1, By: "ann", Settings: &rehearsal}, `
			"limit":{"$numberLong":"1"},"by":"ann","name":"Probe","description":"","discount":{"$numberLong":"0"},
			"slots":{"$numberLong":"1"},"waitlist":{"$numberLong":"0"},"starts_at":{"$date":{"$numberLong":"1772323200000"}},
			"rehearsal":true`},
		{"arrive", campaign.Entry{Kind: campaign.KindArrive, Users: []string{"u1", "u2"}, First: 7}, `
			"users":["u1","u2"],"first":{"$numberLong":"7"}`},
		{"void", campaign.Entry{Kind: campaign.KindVoid, Limit: 101, By: "ann", User: "u1"}, `
			"limit":{"$numberLong":"101"},"by":"ann","user":"u1"`},
		{"accept", campaign.Entry{Kind: campaign.KindAccept, Limit: 1, By: "ann", Epoch: 2, Lost: &campaign.Lost{Place: campaign.Place{Epoch: 1, Seq: 9}, Last: 12}}, `
			"limit":{"$numberLong":"1"},"by":"ann","epoch":{"$numberLong":"2"},"lost":{"epoch":{"$numberLong":"1"},
			"seq":{"$numberLong":"9"},"hash":"` + hash + `","last":{"$numberLong":"12"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.entry.Campaign, test.entry.Seq, test.entry.At, test.entry.ID = 1, 3, day, "R"
			got, err := bson.MarshalExtJSON(newLogEntry(test.entry), true, false)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"_id":"1:0000000003","kind":"%s","at":{"$date":{"$numberLong":"1772323200000"}},"hash":"%s","id":"R",%s}`,
				test.name, hash, test.want)
			if want = strings.NewReplacer("\n", "", "\t", "").Replace(want); string(got) != want {
				t.Errorf("document\n%s, want\n%s", got, want)
			}
		})
	}
}

func TestDamagedDocument(t *testing.T) {
	for _, test := range []struct {
		name   string
		member string
		value  any // nil: the member is missing
		reason string
	}{
		{"no kind", "kind", nil, "no kind"},
		{"kind is a number", "kind", 1, "kind"},
		{"no hash", "hash", nil, "hash"},
		{"hash is binary", "hash", []byte{1}, "hash"},
		{"hash is too short", "hash", "00", "hash"},
		{"hash is no hexadecimal", "hash", strings.Repeat("x", 64), "hash"},
		{"time is a boolean", "at", true, "at"},
		{"users are one", "users", "u1", "users"},
		{"a user is a number", "users", bson.A{"u1", 2}, "users"},
		{"position is a fraction", "first", 1.5, "first"},
		{"settings are wrong", "slots", "100", "slots"},
		{"lost hash is wrong", "lost", bson.D{{Key: "hash", Value: "00"}}, "lost: hash"},
		{"another number", "_id", "01:0000000003", "_id"},
		{"another sequence", "_id", "1:3", "_id"},
		{"id is an object id", "_id", bson.NewObjectID(), "_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw, err := bson.Marshal(newLogEntry(arrived(3, "u1")))
			if err != nil {
				t.Fatal(err)
			}
			var doc bson.D
			if err := bson.Unmarshal(raw, &doc); err != nil {
				t.Fatal(err)
			}
			var changed bson.D
			for _, m := range doc {
				if m.Key != test.member {
					changed = append(changed, m)
				}
			}
			if test.value != nil {
				changed = append(changed, bson.E{Key: test.member, Value: test.value})
			}
			if raw, err = bson.Marshal(changed); err != nil {
				t.Fatal(err)
			}
			_, err = entryOf(raw)
			var damage *campaign.DamageError
			if !errors.As(err, &damage) || test.member != "_id" && damage.Entry != "1:0000000003" ||
				test.member != "_id" && !strings.Contains(damage.Reason, test.reason) {
				t.Errorf("%v, want damage of 1:0000000003 that names %s", err, test.reason)
			}
		})
	}
}

// TestLogCommands holds the store to the concerns that the protocol rests on,
// and to a limit of time for the server. Taking one of them out of
// campaignlog.go makes it fail.
func TestLogCommands(t *testing.T) {
	var mu sync.Mutex
	commands := map[string]bson.Raw{}
	s := open(t, Config{Monitor: &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		commands[e.CommandName] = bytes.Clone(e.Command)
	}}})
	expect := func(command, path, want string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if got := commands[command].Lookup(strings.Split(path, ".")...).String(); got != want {
			t.Errorf("%s: %s is %s, want %s", command, path, got, want)
		}
	}
	timed := func(command string) {
		t.Helper()
		if ms, ok := commands[command].Lookup("maxTimeMS").AsInt64OK(); !ok || ms < 1 || ms > DefaultTimeout.Milliseconds() {
			t.Errorf("%s: maxTimeMS is %d, want %d at most", command, ms, DefaultTimeout.Milliseconds())
		}
	}
	if err := s.Append(t.Context(), paused(0, "a")); err != nil {
		t.Fatal(err)
	}
	expect("insert", "writeConcern.w", `"majority"`)
	expect("insert", "insert", `"campaign_log"`)
	timed("insert")
	if _, err := s.Entry(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	expect("find", "readConcern.level", `"linearizable"`)
	timed("find")
	for _, err := range s.Entries(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("find", "readConcern.level", `"majority"`)
}

// TestAppendIsSentOnce makes the server look like a replica set, where the driver
// repeats what it may. It failed for each answer that is labelled, and for the
// lost one, with InsertOne or Store.insert instead of a plain command.
func TestAppendIsSentOnce(t *testing.T) {
	again := bson.E{Key: "errorLabels", Value: bson.A{"RetryableWriteError"}}
	ok := bson.E{Key: "ok", Value: 1}
	failed := func(code int, more ...bson.E) bson.D {
		return append(bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: code}, {Key: "errmsg", Value: "failed"}}, more...)
	}
	concern := func(code int) bson.E {
		return bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: code}, {Key: "errmsg", Value: "not durable"}}}
	}
	refused := func(code int) bson.E {
		return bson.E{Key: "writeErrors", Value: bson.A{bson.D{{Key: "index", Value: 0}, {Key: "code", Value: code}, {Key: "errmsg", Value: "E"}}}}
	}
	for _, test := range []struct {
		name   string
		answer bson.D // nil: it is lost
		want   string
	}{
		{"acknowledged", bson.D{{Key: "n", Value: 1}, ok}, "acknowledged"},
		{"lost", nil, "outage"},
		{"duplicate", bson.D{refused(11000), ok}, "taken"},
		{"duplicate, and not durable", bson.D{refused(11000), concern(64), ok}, "taken"},
		{"no majority in time", bson.D{{Key: "n", Value: 1}, concern(64), ok}, "outage"},
		{"stepped down before a majority had it", bson.D{{Key: "n", Value: 1}, concern(11602), again, ok}, "outage"},
		{"refused while stepping down", bson.D{refused(189), ok}, "outage"},
		{"no longer the primary", failed(10107, again), "outage"},
		{"interrupted by an election", failed(11602, again), "outage"},
		{"shutting down", failed(91, again), "outage"},
		{"out of time", failed(50), "outage"},
		{"not authorized", failed(13), "outage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, through := newProxy(t, testserver.Mongo(t))
			var inserts atomic.Int64
			p.change = func(request, answer []byte) []byte {
				switch {
				case isAppend(request):
					inserts.Add(1)
					return withDocument(t, answer, func(bson.D) bson.D { return test.answer })
				case bytes.Contains(request, []byte("hello")): // also as helloOk, beside isMaster
					return withDocument(t, answer, func(hello bson.D) bson.D { return append(hello, replicaSet(t, through)...) })
				default:
					return answer
				}
			}
			p.before = func(request []byte) {
				if test.answer == nil && isAppend(request) {
					inserts.Add(1)
				}
			}
			s := open(t, Config{URL: with(t, through, "replicaSet=rs", "retryWrites=true"), Timeout: 5 * time.Second})
			if test.answer == nil {
				p.loseAnswer("insert\x00", campaignLog)
			}
			err := s.Append(t.Context(), paused(0, "a"))
			got := "an error of another kind"
			switch {
			case err == nil:
				got = "acknowledged"
			case errors.Is(err, campaign.ErrTaken):
				got = "taken"
			case unavailable.Is(err):
				got = "outage"
			}
			if got != test.want {
				t.Errorf("append: %v, %s, want %s", err, got, test.want)
			}
			if n := inserts.Load(); n != 1 {
				t.Errorf("the insert was sent %d times", n)
			}
		})
	}
}

func isAppend(request []byte) bool {
	return bytes.Contains(request, []byte("insert\x00")) && bytes.Contains(request, []byte(campaignLog))
}

// replicaSet is what a primary says of itself beyond what a server that is alone
// says.
func replicaSet(t *testing.T, through string) bson.D {
	parsed, err := url.Parse(through)
	if err != nil {
		t.Error(err)
		return nil
	}
	address := parsed.Host
	return bson.D{
		{Key: "setName", Value: "rs"},
		{Key: "hosts", Value: bson.A{address}},
		{Key: "me", Value: address},
		{Key: "secondary", Value: false},
		{Key: "logicalSessionTimeoutMinutes", Value: 30},
	}
}

// withDocument changes the document of an answer: an OP_REPLY, or an OP_MSG of
// one section.
func withDocument(t *testing.T, answer []byte, change func(bson.D) bson.D) []byte {
	const opReply = 1
	start := 21 // the header, flags, and the section's kind
	if binary.LittleEndian.Uint32(answer[12:]) == opReply {
		start = 36 // the header, flags, cursor, first and number
	}
	var doc bson.D
	if err := bson.Unmarshal(answer[start:], &doc); err != nil {
		t.Error(err)
		return answer
	}
	raw, err := bson.Marshal(change(doc))
	if err != nil {
		t.Error(err)
		return answer
	}
	changed := append(bytes.Clone(answer[:start]), raw...)
	binary.LittleEndian.PutUint32(changed, uint32(len(changed)))
	return changed
}

// An insert whose answer was cut is in the log, and reading on finds it.
func TestAppendWhoseAnswerIsCut(t *testing.T) {
	s, p := through(t, nil)
	p.loseAnswer("insert\x00", campaignLog)
	if err := s.Append(t.Context(), paused(0, "a")); !unavailable.Is(err) {
		t.Errorf("append: %v, want an outage", err)
	}
	if !p.lost() {
		t.Error("no answer was lost: the test is wrong")
	}
	if e, err := s.Entry(t.Context(), 1, 0); err != nil || e.By != "a" {
		t.Errorf("entry of %q, %v, want of a", e.By, err)
	}
	if err := s.Append(t.Context(), paused(0, "a")); !errors.Is(err, campaign.ErrTaken) {
		t.Errorf("append once more: %v, want ErrTaken", err)
	}
}

// An insert that is delivered after its writer gave up takes its place, unless
// somebody else was there first.
func TestAppendThatIsDeliveredLate(t *testing.T) {
	for _, test := range []struct {
		name string
		by   string // who is there first; empty: nobody
		want string
	}{
		{"to a place that is free", "", "late"},
		{"after a pause", "admin", "admin"},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := testserver.Mongo(t)
			p, through := newProxy(t, target)
			release, arrived := make(chan struct{}), make(chan struct{})
			p.before = func(request []byte) {
				if isAppend(request) {
					<-release
				}
			}
			p.change = func(request, answer []byte) []byte {
				if isAppend(request) {
					close(arrived)
				}
				return answer
			}
			direct := open(t, Config{URL: target})
			late := open(t, Config{URL: through})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := late.Append(ctx, paused(0, "late")); !unavailable.Is(err) {
				t.Errorf("append: %v, want an outage", err)
			}
			if _, err := direct.Entry(t.Context(), 1, 0); !errors.Is(err, campaign.ErrNoEntry) {
				t.Errorf("entry before it is delivered: %v, want ErrNoEntry", err)
			}
			if test.by != "" {
				if err := direct.Append(t.Context(), paused(0, test.by)); err != nil {
					t.Fatal(err)
				}
			}
			close(release)
			<-arrived
			if e, err := late.Entry(t.Context(), 1, 0); err != nil || e.By != test.want {
				t.Errorf("entry of %q, %v, want of %s", e.By, err, test.want)
			}
		})
	}
}
