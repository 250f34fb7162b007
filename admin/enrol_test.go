package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
)

// enrols has a customer register, as identity does it: enrols C-1 alice.
func enrols(ts *testscript.TestScript, _ bool, args []string) {
	reference, name := args[0], args[1]
	u := account.User{ID: strings.ToUpper(name), Username: name, Canonical: name, CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Customer: reference}
	registry := enrolment.NewRegistry(openStore(ts), nil)
	ts.Check(registry.Create(context.Background(), u, account.Credential{Canonical: name, UserID: u.ID, Password: "none"}))
}

// withDatabase does something in the script's database itself.
func withDatabase(ts *testscript.TestScript, do func(ctx context.Context, db *mongo.Database)) {
	ctx, url := context.Background(), ts.Getenv("EARLYBIRD_MONGO_URL")
	at, err := connstring.ParseAndValidate(url)
	ts.Check(err)
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	ts.Check(err)
	defer func() { _ = client.Disconnect(ctx) }()
	do(ctx, client.Database(at.Database))
}

// unenrols removes an account, and leaves the customer's claim.
func unenrols(ts *testscript.TestScript, _ bool, ids []string) {
	withDatabase(ts, func(ctx context.Context, db *mongo.Database) {
		for _, id := range ids {
			_, err := db.Collection("users").DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
			ts.Check(err)
			_, err = db.Collection("credentials").DeleteOne(ctx, bson.D{{Key: "_id", Value: strings.ToLower(id)}})
			ts.Check(err)
		}
	})
}

// did wants the log of what operators did to customers to be this.
func did(ts *testscript.TestScript, _ bool, want []string) {
	var got []string
	withDatabase(ts, func(ctx context.Context, db *mongo.Database) {
		cursor, err := db.Collection("actions").Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "at", Value: 1}, {Key: "_id", Value: 1}}))
		ts.Check(err)
		var all []struct{ Name, Customer, Result, Detail, By string }
		ts.Check(cursor.All(ctx, &all))
		for _, a := range all {
			if a.By == "" {
				ts.Fatalf("an action of nobody: %+v", a)
			}
			got = append(got, strings.TrimSpace(strings.TrimSpace(a.Name+" "+a.Customer)+": "+a.Result+" "+a.Detail))
		}
	})
	if !slices.Equal(got, want) {
		ts.Fatalf("log of actions:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
