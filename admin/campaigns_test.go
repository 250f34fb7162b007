package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// scriptTime is when the first login of a script was.
var scriptTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

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

// logins records that users have logged in.
func logins(ts *testscript.TestScript, _ bool, ids []string) {
	store := openStore(ts)
	for i, id := range ids {
		ts.Check(store.RecordAttempt(context.Background(), account.Attempt{
			UserID: id, At: scriptTime.Add(time.Duration(i) * time.Second), Outcome: account.OutcomeSuccess,
		}))
	}
}

// grant stores a grant of campaign 1 that Redis knows nothing of: grant EVE 3.
func grant(ts *testscript.TestScript, _ bool, args []string) {
	rank, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	_, err = openStore(ts).AddGrants(context.Background(), []campaign.Grant{{CampaignID: "1", UserID: args[0], Rank: rank, GrantedAt: scriptTime}})
	ts.Check(err)
}

// emptied takes everything from Redis.
func emptied(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(openRedis(ts).FlushAll(context.Background()).Err())
}

// redisConfig changes a setting of the server: redisconfig appendfsync everysec.
func redisConfig(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(openRedis(ts).ConfigSet(context.Background(), args[0], args[1]).Err())
}
