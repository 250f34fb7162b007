package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// console is a command line of its own over the stores of a test.
type console struct {
	store  *mongostore.Store
	redis  redis.UniversalClient
	mirror *mirror.Mirror
}

func newConsole(t *testing.T, mongoURL, redisURL string) console {
	t.Helper()
	store, err := mongostore.Open(t.Context(), mongostore.Config{URL: mongoURL, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisdb.Connect(redisdb.Config{URL: redisURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = store.Close(context.Background()) })
	return console{store, client, mirror.New(mirror.Config{Redis: client, Timeout: 200 * time.Millisecond})}
}

// commit does what an operator does.
func (c console) commit(t *testing.T, change campaign.Change) {
	t.Helper()
	admin := campaign.NewAdmin(campaign.AdminConfig{Store: c.store, Mirror: c.mirror, By: "test"})
	if _, err := admin.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

func (c console) start(t *testing.T, slots, waitlist int64) {
	t.Helper()
	c.commit(t, campaign.Start(campaign.Settings{Name: "L", Slots: slots, Waitlist: waitlist, Discount: 30}))
}

// log reads campaign 1 from MongoDB.
func (c console) log(t *testing.T) *campaign.Fold {
	t.Helper()
	f, err := campaign.NewAdmin(campaign.AdminConfig{Store: c.store, Mirror: c.mirror, By: "test"}).Campaign(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// told is what a login was answered.
type told struct {
	name, token, status string
	place               campaign.Place
	began, ended        time.Time
}

// told logs in and reads the header; the zero value when there is no answer.
func (i *instance) told(t *testing.T, name string) told {
	t.Helper()
	said, err := i.tryLogin(name)
	if err != nil {
		t.Fatalf("login of %s: %v\n%s", name, err, i.logs)
	}
	return said
}

func (i *instance) tryLogin(name string) (told, error) {
	said := told{name: name, began: time.Now()}
	res, err := http.Post(i.url+"/login", "application/json", strings.NewReader(newcomer(name)))
	if err != nil {
		return said, err
	}
	defer res.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(res.Body)
	said.ended = time.Now()
	if err != nil || res.StatusCode != 200 {
		return said, fmt.Errorf("%d %s, %w", res.StatusCode, body.String(), errors.Join(err))
	}
	said.token = strings.Split(body.String(), `"`)[3]
	status, place, placed := strings.Cut(strings.TrimPrefix(res.Header.Get("Earlybird"), "status="), `, place="`)
	if said.status = status; placed {
		said.place, err = campaign.ParsePlace(strings.TrimSuffix(place, `"`))
	}
	if placed != (status == "pending") {
		err = fmt.Errorf("header %q", res.Header.Get("Earlybird"))
	}
	return said, err
}

func (i *instance) register(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if status, said := i.do(t, "POST", "/users", newcomer(name), ""); status != 201 {
			t.Fatalf("POST /users: %d %v", status, said)
		}
	}
}

// rank is what GET /promotion says: the rank of a grant, or 0 and the standing.
func (i *instance) rank(t *testing.T, token string) (rank int, standing string) {
	t.Helper()
	status, said := i.do(t, "GET", "/promotion", "", token)
	if status == 200 {
		n, _ := said["rank"].(float64)
		return int(n), ""
	}
	standing, _ = said["standing"].(string)
	return 0, fmt.Sprint(status, " ", standing)
}

func names(prefix string, n int) []string {
	all := make([]string, n)
	for k := range all {
		all[k] = fmt.Sprintf("%s-%d", prefix, k)
	}
	return all
}

// A login is placed before it is answered: whoever looks into MongoDB then finds
// the user in the log, at or before the place that the answer names, and both
// replicas tell the same rank at once. Ranks go by the order of logins, wherever
// they were made; a pause holds at both when its command has returned. Checked by
// placing in the background.
func TestPlacedBeforeItIsAnswered(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	given := map[string]string{"redis-url": redis.URL(), "mongo-url": mongo}
	one, two := begin(t, given), begin(t, given)
	one.until(t, "/readyz", 200)
	two.until(t, "/readyz", 200)
	operator := newConsole(t, mongo, redis.URL())
	one.register(t, append(names("p", 8), "late", "later")...)
	if got := one.told(t, "late"); got.status != "none" {
		t.Errorf("without a campaign: %s", got.status)
	}
	operator.start(t, 5, 2)
	for n, name := range names("p", 7) {
		at, other := one, two
		if n%2 == 1 {
			at, other = two, one
		}
		got := at.told(t, name)
		if got.status != "pending" {
			t.Fatalf("login %d: %s, want pending", n+1, got.status)
		}
		f := operator.log(t)
		if p := f.Position(subject(t, got.token)); p != int64(n+1) || f.At().Before(got.place) {
			t.Errorf("login %d is at position %d of the log up to %s, told %s", n+1, p, f.At(), got.place)
		}
		want, standing := n+1, ""
		if n >= 5 {
			want, standing = 0, "404 full"
		}
		for _, i := range []*instance{at, other} {
			if rank, said := i.rank(t, got.token); rank != want || said != standing {
				t.Errorf("login %d at %s: rank %d %q, want %d %q", n+1, i.addr, rank, said, want, standing)
			}
		}
	}
	if got := two.told(t, "p-7"); got.status != "full" {
		t.Errorf("behind the waiting list: %s", got.status)
	}
	if again := two.told(t, "p-0"); again.status != "pending" {
		t.Errorf("the first once more: %s", again.status)
	}
	operator.commit(t, campaign.Revise(func(s *campaign.Settings) { s.Slots = 6 }))
	operator.commit(t, campaign.Pause())
	for _, i := range []*instance{one, two} {
		if got := i.told(t, "later"); got.status != "paused" {
			t.Errorf("after the pause: %s", got.status)
		}
	}
	operator.commit(t, campaign.Resume())
	if got := two.told(t, "later"); got.status != "pending" {
		t.Errorf("after the end of the pause: %s", got.status)
	}
	operator.commit(t, campaign.End())
	if got := one.told(t, "late"); got.status != "ended" {
		t.Errorf("after the end: %s", got.status)
	}
	if rank, _ := one.rank(t, one.told(t, "p-5").token); rank != 6 {
		t.Errorf("the sixth has rank %d after a slot was added, want 6", rank)
	}
}

// Twelve people log in at both replicas at the same time, for eight slots: each
// has one place, the places are 1 to 12, eight of them granted, and both replicas
// say the same of each.
func TestTwoReplicasAtOnce(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	given := map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "address-limit": "off"}
	one, two := begin(t, given), begin(t, given)
	one.until(t, "/readyz", 200)
	two.until(t, "/readyz", 200)
	people := names("p", 12)
	one.register(t, people...)
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 8, 100)
	answers := make([]told, 2*len(people))
	begun, all := make(chan struct{}), sync.WaitGroup{}
	for n := range answers {
		all.Go(func() {
			<-begun
			var err error
			if answers[n], err = []*instance{one, two}[n%2].tryLogin(people[n/2]); err != nil {
				t.Errorf("login of %s: %v", people[n/2], err)
			}
		})
	}
	close(begun)
	all.Wait()
	f := operator.log(t)
	if f.Last() != int64(len(people)) || f.Granted() != 8 {
		t.Errorf("%d places and %d grants, want 12 and 8", f.Last(), f.Granted())
	}
	seen := map[int64]string{}
	for _, said := range answers {
		if said.token == "" {
			continue
		}
		position := f.Position(subject(t, said.token))
		if other, taken := seen[position]; position == 0 || taken && other != said.name {
			t.Errorf("%s has position %d, as %q has", said.name, position, other)
		}
		seen[position] = said.name
		want := int(position)
		if want > 8 {
			want = 0
		}
		for _, i := range []*instance{one, two} {
			if rank, standing := i.rank(t, said.token); said.status != "pending" || rank != want {
				t.Errorf("%s: %s, position %d, rank %d %s", said.name, said.status, position, rank, standing)
			}
		}
	}
}

// Without Redis a login is placed all the same, and GET /promotion tells it;
// readyz says degraded. Redis has it all within seconds of coming back.
func TestPlacedWithoutRedis(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "address-limit": "off"})
	i.until(t, "/readyz", 200)
	i.register(t, names("p", 3)...)
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 2, 1)
	i.told(t, "p-0")
	redis.Kill()
	for n, want := range []struct {
		rank     int
		standing string
	}{{1, ""}, {2, ""}, {0, "404 full"}} {
		got := i.told(t, fmt.Sprintf("p-%d", n))
		if rank, standing := i.rank(t, got.token); got.status != "pending" || rank != want.rank || standing != want.standing {
			t.Errorf("login %d: %s, rank %d %q, want pending, %+v", n, got.status, rank, standing, want)
		}
		if took := got.ended.Sub(got.began); took > 2*time.Second {
			t.Errorf("login %d took %s", n, took)
		} else {
			t.Logf("login %d took %s", n, took)
		}
	}
	testserver.Eventually(t, "readyz says degraded", func() bool { return i.until(t, "/readyz", 200)["status"] == "degraded" })
	at := operator.log(t).At()
	redis.Start()
	testserver.Eventually(t, "the mirror is filled", func() bool {
		s, err := operator.mirror.State(t.Context())
		return err == nil && s.Intact && s.Place == at && s.Last == 3 && !s.Beat.IsZero()
	})
}

// While MongoDB takes no entries, logins are answered in time with retry, and who
// holds a grant goes on hearing of it; with the first entry that it takes, logins
// count again.
func TestMongoTakesNoEntries(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	gate, through := newGate(t, mongo)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": through})
	i.until(t, "/readyz", 200)
	i.register(t, names("p", 7)...)
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 100, 0)
	first := i.told(t, "p-0")
	gate.set(func(request []byte) bool {
		return bytes.Contains(request, []byte("\x02insert\x00\x0d\x00\x00\x00campaign_log\x00"))
	}, nil)
	for _, name := range names("p", 6)[1:] {
		got := i.told(t, name)
		if took := got.ended.Sub(got.began); got.status != "retry" || took > 4*time.Second {
			t.Errorf("%s: %s after %s, want retry", name, got.status, took)
		}
	}
	if rank, standing := i.rank(t, first.token); rank != 1 {
		t.Errorf("the first: rank %d %s", rank, standing)
	}
	if again := i.told(t, "p-0"); again.status != "pending" && again.status != "retry" {
		t.Errorf("the first once more: %s", again.status)
	}
	if operator.log(t).Last() != 1 {
		t.Errorf("%d places in the log, want 1", operator.log(t).Last())
	}
	gate.set(nil, nil)
	testserver.Eventually(t, "logins count again", func() bool { return i.told(t, "p-6").status == "pending" })
	if rank, standing := i.rank(t, i.told(t, "p-6").token); rank != 2 {
		t.Errorf("after the outage: rank %d %s, want 2", rank, standing)
	}
}

// identity is killed while people log in. Whatever was told is in the log: each of
// them, in the order in which they were told, and the next process says the same.
// Checked by acknowledging before the insert.
func TestKilledAfterTheInsert(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	flags := []string{"--redis-url", redis.URL(), "--mongo-url", mongo, "--address-limit", "off"}
	url, pid := process(t, flags...)
	dying := &instance{url: url, logs: &testserver.Output{}}
	dying.until(t, "/readyz", 200)
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 1000, 0)
	const clients, each = 4, 8
	for c := range clients {
		dying.register(t, names(fmt.Sprintf("c%d", c), each)...)
	}
	var (
		mu      sync.Mutex
		history []told
		enough  = make(chan struct{})
		all     sync.WaitGroup
	)
	for c := range clients {
		all.Go(func() {
			for _, name := range names(fmt.Sprintf("c%d", c), each) {
				said, err := dying.tryLogin(name)
				if err != nil {
					return // it is dead
				}
				mu.Lock()
				if history = append(history, said); len(history) == clients*each/2 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	if killed, err := os.FindProcess(pid); err != nil || killed.Kill() != nil {
		t.Fatalf("kill it: %v", err)
	}
	all.Wait()

	next := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "address-limit": "off"})
	next.until(t, "/readyz", 200)
	f := operator.log(t)
	position := map[string]int64{}
	for _, said := range history {
		position[said.name] = f.Position(subject(t, said.token))
		rank, standing := next.rank(t, said.token)
		if said.status != "pending" || position[said.name] == 0 || int64(rank) != position[said.name] {
			t.Errorf("%s was told %s %s, has position %d and rank %d %s", said.name, said.status, said.place, position[said.name], rank, standing)
		}
	}
	for _, a := range history {
		for _, b := range history {
			if a.ended.Before(b.began) && position[b.name] > 0 && position[a.name] > position[b.name] {
				t.Errorf("%s was answered before %s began and is behind: %d, %d", a.name, b.name, position[a.name], position[b.name])
			}
		}
	}
	if len(history) == clients*each {
		t.Log("the process died after the last answer")
	}
}

// MongoDB comes back from an older backup, which lacks the last entry: nothing is
// appended, who holds a grant that was read still hears of it, and nobody hears
// that they hold none. With the entry back all goes on. Checked by not comparing.
func TestMongoFromAnOlderBackup(t *testing.T) {
	redis, mongoURL := testserver.Redis(t), testserver.Mongo(t)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongoURL})
	i.until(t, "/readyz", 200)
	i.register(t, names("p", 3)...)
	operator := newConsole(t, mongoURL, redis.URL())
	operator.start(t, 100, 0)
	first, second := i.told(t, "p-0"), i.told(t, "p-1")
	entries := database(t, mongoURL).Collection("campaign_log")
	var lost bson.D
	if err := entries.FindOneAndDelete(t.Context(), bson.D{{Key: "_id", Value: campaign.EntryID(1, second.place.Seq)}}).Decode(&lost); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, "readyz says degraded, and not unready as all replicas would", func() bool {
		said := i.until(t, "/readyz", 200)
		checks, _ := said["checks"].(map[string]any)
		return said["status"] == "degraded" && checks["places"] == "down" && checks["campaign"] == "up"
	})
	if got := i.told(t, "p-2"); got.status != "retry" {
		t.Errorf("a login meanwhile: %s", got.status)
	} else if _, standing := i.rank(t, got.token); !strings.HasPrefix(standing, "503") {
		t.Errorf("who holds no grant hears %s, want 503", standing)
	}
	for n, said := range []told{first, second} {
		if rank, standing := i.rank(t, said.token); rank != n+1 {
			t.Errorf("who is known to hold rank %d hears %d %s", n+1, rank, standing)
		}
	}
	if last := operator.log(t).Last(); last != 1 {
		t.Errorf("%d places in the log, want 1", last)
	}
	if !strings.Contains(i.logs.String(), "older backup") {
		t.Error("no word of it in the log")
	}
	if _, err := entries.InsertOne(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, "readyz says ready", func() bool { return i.until(t, "/readyz", 200)["status"] == "ready" })
	if rank, standing := i.rank(t, i.told(t, "p-2").token); rank != 3 {
		t.Errorf("afterwards: rank %d %s, want 3", rank, standing)
	}
}

// MongoDB's clock is ten seconds behind: nothing counts, everybody is told to
// retry, and the replica is not ready. Clocks that agree again are enough to go on.
func TestClocksApart(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	gate, through := newGate(t, mongo)
	operations := testserver.FreeAddresses(t, 1)[0]
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": through, "metrics-listen": operations})
	i.until(t, "/readyz", 200)
	i.register(t, names("p", 2)...)
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 100, 0)
	i.told(t, "p-0")
	gate.set(nil, func(answer []byte) {
		name := []byte("\x09localTime\x00")
		if at := bytes.Index(answer, name); at >= 0 {
			value := answer[at+len(name):][:8]
			binary.LittleEndian.PutUint64(value, binary.LittleEndian.Uint64(value)-10_000)
		}
	})
	said := i.until(t, "/readyz", 503)
	if checks, _ := said["checks"].(map[string]any); checks["campaign"] != "down" || checks["mongodb"] != "up" {
		t.Errorf("readyz says %v", said)
	}
	if got := i.told(t, "p-1"); got.status != "retry" {
		t.Errorf("a login with clocks apart: %s", got.status)
	}
	_, metrics := read(t, "http://"+operations+"/metrics")
	_, text, _ := strings.Cut(metrics, "\nearlybird_clock_skew_seconds ")
	var skew float64
	if _, err := fmt.Sscan(text, &skew); err != nil || skew < 9 || skew > 11 {
		t.Errorf("the skew is %f, want about 10: %v", skew, err)
	}
	for _, want := range []string{"\nearlybird_campaign_ready 0", "\nearlybird_placements_total{status=\"retry\"} 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
	if !strings.Contains(i.logs.String(), "clocks of this process and of mongodb differ") {
		t.Error("no word of it in the log")
	}
	if n := operator.log(t).Last(); n != 1 {
		t.Errorf("%d places, want 1", n)
	}
	gate.set(nil, nil)
	i.until(t, "/readyz", 200)
	if got := i.told(t, "p-1"); got.status != "pending" {
		t.Errorf("a login with clocks that agree: %s", got.status)
	}
}

// A database and a Redis of the design before the log: what is there is ignored,
// left alone in MongoDB and removed from Redis, and campaign 1 begins anew.
func TestStateOfBeforeIsIgnored(t *testing.T) {
	redis, mongoURL := testserver.Redis(t), testserver.Mongo(t)
	operator := newConsole(t, mongoURL, redis.URL())
	before := seedEarlierDesign(t, mongoURL, operator.redis)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongoURL})
	i.until(t, "/readyz", 200)
	i.register(t, "amy", "bob")
	if got := i.told(t, "amy"); got.status != "none" {
		t.Errorf("with a campaign of before: %s, want none", got.status)
	}
	operator.start(t, 1, 1)
	for n, name := range []string{"bob", "amy"} {
		got := i.told(t, name)
		if rank, standing := i.rank(t, got.token); got.status != "pending" || rank != 1-n {
			t.Errorf("%s: %s, rank %d %s", name, got.status, rank, standing)
		}
	}
	testserver.Eventually(t, "the mirror is filled", func() bool {
		s, err := operator.mirror.State(t.Context())
		return err == nil && s.Intact && s.Last == 2
	})
	if n, err := operator.redis.Exists(t.Context(), "earlybird:{earlybird}:outbox").Result(); err != nil || n != 0 {
		t.Errorf("Redis still has %d keys of before, %v", n, err)
	}
	if after := countEarlierDesign(t, mongoURL); !slices.Equal(after, before) {
		t.Errorf("documents of before: %v, there were %v", after, before)
	}
}

var earlierCollections = []string{"campaigns", "grants", "waiting", "expected", "conflicts"}

// database is the test's database, as a person with a shell sees it.
func database(t *testing.T, mongoURL string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(mongoURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	_, name, _ := strings.Cut(strings.TrimPrefix(mongoURL, "mongodb://"), "/")
	name, _, _ = strings.Cut(name, "?")
	return client.Database(name)
}

// seedEarlierDesign fills both stores as the design before the log did, with a
// campaign that is open and one grant.
func seedEarlierDesign(t *testing.T, mongoURL string, client redis.UniversalClient) []int64 {
	t.Helper()
	db := database(t, mongoURL)
	now := time.Now()
	for collection, doc := range map[string]bson.D{
		"campaigns": {
			{Key: "_id", Value: "1:1"},
			{Key: "number", Value: 1},
			{Key: "version", Value: 1},
			{Key: "name", Value: "Early Bird"},
			{Key: "discount", Value: 30},
			{Key: "slots", Value: 100},
			{Key: "waitlist", Value: 10000},
			{Key: "status", Value: "open"},
		},
		"grants":    {{Key: "_id", Value: "1:U"}, {Key: "campaign", Value: "1"}, {Key: "user_id", Value: "U"}, {Key: "rank", Value: 1}, {Key: "granted_at", Value: now}},
		"waiting":   {{Key: "_id", Value: "1:V"}, {Key: "campaign", Value: "1"}, {Key: "user_id", Value: "V"}, {Key: "position", Value: 2}, {Key: "at", Value: now}},
		"expected":  {{Key: "_id", Value: "1:W"}, {Key: "campaign", Value: "1"}, {Key: "user_id", Value: "W"}, {Key: "at", Value: now}},
		"conflicts": {{Key: "_id", Value: "1:1:X"}, {Key: "campaign", Value: "1"}, {Key: "user_id", Value: "X"}, {Key: "rank", Value: 1}},
	} {
		if _, err := db.Collection(collection).InsertOne(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.HSet(t.Context(), mirror.KeyCampaign, "id", "1", "version", "1", "slots", "100", "status", "open", "discount", "30")
		p.ZAdd(t.Context(), mirror.KeyArrivals, redis.Z{Score: 1, Member: "U"}, redis.Z{Score: 2, Member: "V"})
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: "earlybird:{earlybird}:outbox", Values: []string{"user", "U", "rank", "1"}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return countEarlierDesign(t, mongoURL)
}

func countEarlierDesign(t *testing.T, mongoURL string) []int64 {
	t.Helper()
	db := database(t, mongoURL)
	counts := make([]int64, len(earlierCollections))
	for n, name := range earlierCollections {
		var err error
		if counts[n], err = db.Collection(name).CountDocuments(t.Context(), bson.D{}); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

// A Redis of another database is not touched: logins are placed, the log says
// whose it is, and a metric raises an alarm.
func TestForeignRedis(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	operations := testserver.FreeAddresses(t, 1)[0]
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 100, 0)
	if err := operator.redis.HSet(t.Context(), mirror.KeyCampaign, "origin", "SOMEBODY-ELSE").Err(); err != nil {
		t.Fatal(err)
	}
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "metrics-listen": operations})
	i.until(t, "/readyz", 200)
	i.register(t, "amy")
	got := i.told(t, "amy")
	if rank, standing := i.rank(t, got.token); got.status != "pending" || rank != 1 {
		t.Errorf("login: %s, rank %d %s", got.status, rank, standing)
	}
	testserver.Eventually(t, "the metric says foreign", func() bool {
		_, metrics := read(t, "http://"+operations+"/metrics")
		return strings.Contains(metrics, "\nearlybird_mirror_foreign 1")
	})
	if !strings.Contains(i.logs.String(), "redis belongs to another database") || !strings.Contains(i.logs.String(), "SOMEBODY-ELSE") {
		t.Error("the log does not say whose it is")
	}
	if n, err := operator.redis.ZCard(t.Context(), mirror.KeyArrivals).Result(); err != nil || n != 0 {
		t.Errorf("%d arrivals were written to it, %v", n, err)
	}
}
