package mongostore

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
)

// The embedded server takes every read concern and ignores it, and it is alone:
// what a majority and a linearizable read mean can be held on
// campaigntest.Cluster only.
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
		err = set("hash", "0000000000000000000000000000000000000000000000000000000000000000")
	case campaigntest.DamageKind:
		err = set("kind", "future")
	case campaigntest.DamageForeign:
		_, err = c.ReplaceOne(t.Context(), filter, bson.D{{Key: "hello", Value: "world"}})
	}
	if err != nil {
		t.Fatal(err)
	}
}
