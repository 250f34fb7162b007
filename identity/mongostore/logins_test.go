package mongostore

import (
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account/storetest"
)

func TestAudit(t *testing.T) {
	s := open(t, Config{})
	if s.expires { // then pruning is the server's, once a minute
		s.expires = false
	}
	storetest.RunAudit(t, s)
}

// A store that is opened with another retention changes the index, on a server
// that has any.
func TestRetentionChanges(t *testing.T) {
	url := testserver.Mongo(t)
	first := open(t, Config{URL: url, AuditRetention: 48 * time.Hour})
	if !first.expires {
		t.Skip("this server does not expire documents")
	}
	second := open(t, Config{URL: url, AuditRetention: 24 * time.Hour})
	cursor, err := second.logins().Indexes().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name    string
		Seconds int `bson:"expireAfterSeconds"`
	}
	if err := cursor.All(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, index := range all {
		if index.Name == "retention" && index.Seconds != 24*60*60 {
			t.Errorf("attempts are kept for %d s", index.Seconds)
		}
	}
}
