package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/mongostore"
)

// stored is everything in a database, as text.
func stored(t *testing.T, url string) string {
	t.Helper()
	at, err := connstring.ParseAndValidate(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(t.Context()) }()
	db := client.Database(at.Database)
	names, err := db.ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		cursor, err := db.Collection(name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		for cursor.Next(t.Context()) {
			fmt.Fprintln(&all, name, cursor.Current)
		}
		if err := cursor.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// TestEnrolment has a customer register many times at once, with two codes, at two
// replicas: it makes one account. No code is in a log or in the database.
func TestEnrolment(t *testing.T) {
	url := testserver.Mongo(t)
	settings := func() map[string]string {
		return map[string]string{"redis-url": testserver.Redis(t).URL(), "mongo-url": url, "registration": "code"}
	}
	replicas := []*instance{begin(t, settings()), begin(t, settings())}
	for _, i := range replicas {
		i.until(t, "/readyz", 200)
	}
	store, err := mongostore.Connect(t.Context(), mongostore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	admin := enrolment.NewAdmin(enrolment.AdminConfig{Store: store, By: "carol"})
	issue := func() enrolment.Code {
		issued, err := admin.Issue(t.Context(), []string{"C-1"}, time.Now().Add(time.Hour), true)
		if err != nil || issued[0].Code == "" {
			t.Fatalf("issue: %+v, %v", issued, err)
		}
		return issued[0].Code
	}
	codes := []enrolment.Code{issue(), issue()}

	if status, said := replicas[0].do(t, "POST", "/users", alice, ""); status != 422 || !strings.HasPrefix(fmt.Sprint(said["detail"]), "code: is required") {
		t.Errorf("without a code: %d %v", status, said)
	}
	var mu sync.Mutex
	answers := map[int]int{}
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			body := fmt.Sprintf(`{"username":"user%d","password":"correct horse battery staple","code":%q}`, n, codes[n/2%2])
			status := replicas[n%2].send(t, "POST", "/users", body, "")
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
	all.Wait()
	if answers[201] != 1 || answers[422] != 15 {
		t.Errorf("answers by status: %v; want 201 once, else 422", answers)
	}
	found, err := admin.Show(t.Context(), "C-1")
	if err != nil || found.Status != enrolment.StatusEnrolled || found.User.Customer != "C-1" {
		t.Errorf("customer = %+v, %v", found, err)
	}

	everything := stored(t, url) + replicas[0].logs.String() + replicas[1].logs.String()
	if !strings.Contains(everything, codes[1].Hash()) {
		t.Error("the hash of the code is not stored")
	}
	for _, code := range codes {
		for _, form := range []string{string(code), code.String(), strings.ToLower(string(code))} {
			if strings.Contains(everything, form) {
				t.Errorf("a code is stored or logged, as %s", form)
			}
		}
	}
}
