package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/revocation"
)

// changed wants the log to say that this was begun and done by somebody, last:
// changed 'campaign pause' alice.
func changed(ts *testscript.TestScript, _ bool, args []string) {
	ctx, url := context.Background(), ts.Getenv("EARLYBIRD_MONGO_URL")
	at, err := connstring.ParseAndValidate(url)
	ts.Check(err)
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	ts.Check(err)
	defer func() { _ = client.Disconnect(ctx) }()
	newest := options.Find().SetSort(bson.D{{Key: "at", Value: -1}, {Key: "_id", Value: -1}})
	cursor, err := client.Database(at.Database).Collection("actions").Find(ctx, bson.D{}, newest)
	ts.Check(err)
	var all []struct{ Name, Result, By string }
	ts.Check(cursor.All(ctx, &all))
	var got []string
	for _, a := range all[:min(2, len(all))] {
		got = append(got, a.Name+" "+a.Result+" by "+a.By)
	}
	want := []string{args[0] + " done by " + args[1], args[0] + " begun by " + args[1]}
	if !slices.Equal(got, want) {
		ts.Fatalf("newest actions %q, want %q", got, want)
	}
}

// rehearsing starts a rehearsal of two slots.
func rehearsing(ts *testscript.TestScript, _ bool, _ []string) {
	admin := campaign.NewAdmin(campaign.AdminConfig{Store: openStore(ts), Mirror: mirror.New(mirror.Config{Redis: openRedis(ts)}), By: "test"})
	_, err := admin.Read(context.Background())
	ts.Check(err)
	_, err = admin.Commit(context.Background(), campaign.Start(campaign.Settings{Name: "Probe", Slots: 2, Waitlist: 9, Rehearsal: true}))
	ts.Check(err)
}

// logins records that users have logged in just now, perhaps from an address:
// logins ALICE BOB@192.0.2.1.
func logins(ts *testscript.TestScript, _ bool, ids []string) {
	store := openStore(ts)
	for _, id := range ids {
		id, address, _ := strings.Cut(id, "@")
		ts.Check(store.RecordAttempt(context.Background(), account.Attempt{UserID: id, At: time.Now(), Outcome: account.OutcomeSuccess, IP: address, RequestID: "r1"}))
	}
}

// emptied takes everything from Redis.
func emptied(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(openRedis(ts).FlushAll(context.Background()).Err())
}

// redisConfig changes a setting of the server: redisconfig maxmemory 1.
func redisConfig(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(openRedis(ts).ConfigSet(context.Background(), args[0], args[1]).Err())
}

// campaignLog is the collection of the log's entries.
func campaignLog(ts *testscript.TestScript) *mongo.Collection {
	url := ts.Getenv("EARLYBIRD_MONGO_URL")
	at, err := connstring.ParseAndValidate(url)
	ts.Check(err)
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	ts.Check(err)
	ts.Defer(func() { _ = client.Disconnect(context.Background()) })
	return client.Database(at.Database).Collection("campaign_log")
}

// damaged changes an entry of the log by hand: damaged 1:0000000002.
func damaged(ts *testscript.TestScript, _ bool, args []string) {
	_, err := campaignLog(ts).UpdateByID(context.Background(), args[0], bson.D{{Key: "$set", Value: bson.D{{Key: "users", Value: bson.A{"MALLORY"}}}}})
	ts.Check(err)
}

// lost takes entries from the log, as an older backup does: lost 1:0000000002 1:0000000003.
func lost(ts *testscript.TestScript, _ bool, ids []string) {
	for _, id := range ids {
		gone, err := campaignLog(ts).DeleteOne(context.Background(), bson.D{{Key: "_id", Value: id}})
		ts.Check(err)
		if gone.DeletedCount != 1 {
			ts.Fatalf("there is no entry %s", id)
		}
	}
}

// mislaid gives a user another position in Redis: mislaid ALICE 2.
func mislaid(ts *testscript.TestScript, _ bool, args []string) {
	position, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	ts.Check(openRedis(ts).ZAdd(context.Background(), mirror.KeyArrivals, redis.Z{Score: position, Member: args[0]}).Err())
}

// redisUser gives the Redis user of RESTRICTED_REDIS_URL these rights;
// "documented" are those that operations.md lists for the command line.
func redisUser(ts *testscript.TestScript, _ bool, rules []string) {
	args := []any{"acl", "setuser", "restricted", "reset", "on", ">s3cret"}
	for _, rule := range rules {
		if rule != "documented" {
			args = append(args, rule)
			continue
		}
		for _, right := range documentedRights(ts) {
			args = append(args, right)
		}
	}
	ts.Check(openRedis(ts).Do(context.Background(), args...).Err())
}

// foreign fills Redis as another database's identity service does, complete at a
// time: foreign ORIGIN 2026-11-22T12:00:00Z.
func foreign(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	beat := time.Now()
	if args[1] != "now" {
		var err error
		beat, err = time.Parse(time.RFC3339, args[1])
		ts.Check(err)
	}
	client := openRedis(ts)
	ts.Check(client.FlushAll(ctx).Err())
	settings := campaign.Settings{Name: "Theirs", Slots: 1, StartsAt: beat}
	entries := []campaign.Entry{
		{Campaign: 7, Kind: campaign.KindStart, At: beat, Origin: args[0], Epoch: 7 << 20, Limit: 1, Settings: &settings},
		{Campaign: 7, Seq: 1, Kind: campaign.KindEnd, At: beat, Limit: 1},
	}
	_, err := mirror.New(mirror.Config{Redis: client}).Apply(ctx, campaign.Batch{
		Origin: args[0], Epoch: 7 << 20, Campaign: 7, Entries: entries, Known: 1, Beat: beat,
	})
	ts.Check(err)
	ts.Check(client.HSet(ctx, revocation.KeyState, "origin", args[0], "epoch", "E", "count", "0", "last", "0-1", "beat", beat.UnixMilli()).Err())
}

func documentedRights(ts *testscript.TestScript) []string {
	page, err := os.ReadFile("../deploy/docs/operations.md")
	ts.Check(err)
	_, section, found := strings.Cut(string(page), "## What a Redis user must be allowed")
	section, _, _ = strings.Cut(section, "- the gateways' plugins")
	rights := regexp.MustCompile(`\+[a-z_]+`).FindAllString(section, -1)
	if !found || len(rights) == 0 {
		ts.Fatalf("operations.md lists no rights")
	}
	return rights
}

// because wants the last action to be about a user, for a reason, by an entry of
// the log: because ALICE 'a reason' 1:0000000005.
func because(ts *testscript.TestScript, _ bool, args []string) {
	actions := campaignLog(ts).Database().Collection("actions")
	newest := options.FindOne().SetSort(bson.D{{Key: "at", Value: -1}, {Key: "_id", Value: -1}})
	var last struct {
		UserID        string `bson:"user_id"`
		Reason, Entry string
	}
	ts.Check(actions.FindOne(context.Background(), bson.D{}, newest).Decode(&last))
	if got := []string{last.UserID, last.Reason, last.Entry}; !slices.Equal(got, args) {
		ts.Fatalf("the last action is about %q, want %q", got, args)
	}
}
