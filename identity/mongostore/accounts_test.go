package mongostore

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/storetest"
)

// open returns a store on an empty database, closed with the test.
func open(t testing.TB, c Config) *Store {
	t.Helper()
	if c.URL == "" {
		c.URL = testserver.Mongo(t)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s
}

// with adds options to a URL.
func with(t *testing.T, target string, options ...string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+strings.Join(options, "&"), "&")
	return u.String()
}

func TestAccounts(t *testing.T) {
	storetest.Run(t, func(t *testing.T) account.Store { return open(t, Config{}) })
}

// The suite must pass as well where profiles are read from secondaries.
func TestAccountsReadingFromSecondaries(t *testing.T) {
	storetest.Run(t, func(t *testing.T) account.Store {
		return open(t, Config{URL: with(t, testserver.Mongo(t), "readPreference=secondaryPreferred")})
	})
}

func TestAdminStore(t *testing.T) {
	storetest.RunAdmin(t, func(t *testing.T) account.AdminStore { return open(t, Config{}) })
}

func TestRecordAttempt(t *testing.T) {
	s := open(t, Config{})
	want := account.Attempt{
		UserID: "u", At: time.Date(2026, 11, 22, 1, 2, 3, 4_000_000, time.UTC),
		Outcome: account.OutcomeWrongPassword, IP: "192.0.2.1", RequestID: "r",
	}
	if err := s.RecordAttempt(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	var stored []login
	cursor, err := s.logins().Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cursor.All(t.Context(), &stored); err != nil {
		t.Fatal(err)
	}
	if len(stored) != 1 {
		t.Fatalf("%d attempts stored, want 1", len(stored))
	}
	l := stored[0]
	got := account.Attempt{UserID: l.UserID, At: l.At.UTC(), Outcome: account.Outcome(l.Outcome), IP: l.IP, RequestID: l.RequestID}
	if got != want {
		t.Errorf("stored %+v, want %+v", got, want)
	}
}

// A name that was lost to another leaves nothing behind.
func TestTakenLeavesNoOrphan(t *testing.T) {
	s := open(t, Config{})
	for _, id := range []string{"first", "second"} {
		err := s.CreateUser(t.Context(), account.User{ID: id, Canonical: "alice"}, account.Credential{Canonical: "alice", UserID: id})
		if (err == nil) != (id == "first") {
			t.Fatalf("create %s: %v", id, err)
		}
	}
	n, err := s.users().CountDocuments(t.Context(), bson.D{})
	if err != nil || n != 1 {
		t.Errorf("%d users stored (%v), want 1", n, err)
	}
}

func TestUsernames(t *testing.T) {
	s := open(t, Config{})
	for _, name := range []string{"Ann", "Bob"} {
		c := account.Credential{Canonical: name, UserID: "id of " + name}
		if err := s.CreateUser(t.Context(), account.User{ID: c.UserID, Username: name, Canonical: name}, c); err != nil {
			t.Fatal(err)
		}
	}
	names, err := s.Usernames(t.Context(), []string{"id of Bob", "nobody", "id of Ann"})
	if err != nil || len(names) != 2 || names["id of Ann"] != "Ann" || names["id of Bob"] != "Bob" {
		t.Errorf("names %v, %v", names, err)
	}
}
