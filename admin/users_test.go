package main

import (
	"context"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/identity/revocation"
)

// announced wants the last that the gateways were told to be this generation
// of this user: announced ALICE 1.
func announced(ts *testscript.TestScript, _ bool, args []string) {
	last, err := openRedis(ts).XRevRangeN(context.Background(), revocation.KeyStream, "+", "-", 1).Result()
	ts.Check(err)
	if len(last) != 1 || last[0].Values["user"] != args[0] || last[0].Values["gen"] != args[1] {
		ts.Fatalf("the gateways were last told %v, want generation %s of %s", last, args[1], args[0])
	}
}

// acted wants the log of what operators did to be this: acted 'user disable:begun'.
func acted(ts *testscript.TestScript, _ bool, want []string) {
	ctx, url := context.Background(), ts.Getenv("EARLYBIRD_MONGO_URL")
	at, err := connstring.ParseAndValidate(url)
	ts.Check(err)
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	ts.Check(err)
	defer func() { _ = client.Disconnect(ctx) }()
	cursor, err := client.Database(at.Database).Collection("actions").Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "at", Value: 1}, {Key: "_id", Value: 1}}))
	ts.Check(err)
	var all []struct {
		Name, Result, By string
		UserID           string `bson:"user_id"`
	}
	ts.Check(cursor.All(ctx, &all))
	var got []string
	for _, a := range all {
		got = append(got, a.Name+":"+a.Result)
		if a.UserID != "ALICE" || a.By == "" {
			ts.Fatalf("an action of nobody, or on nobody: %+v", a)
		}
	}
	if !slices.Equal(got, want) {
		ts.Fatalf("log of actions: %v, want %v", got, want)
	}
}
