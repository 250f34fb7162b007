package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// expected is a document of the collection expected; `_id` is "campaign:user".
// The collection is as large as what is in flight, so it needs no index.
type expected struct {
	ID       string    `bson:"_id"`
	Campaign string    `bson:"campaign"`
	UserID   string    `bson:"user_id"`
	At       time.Time `bson:"at"`
}

func (s *Store) expected() *mongo.Collection { return s.db.Collection("expected") }

// Expect implements campaign.Expectations.
func (s *Store) Expect(ctx context.Context, e campaign.Expected) error {
	err := s.insert(ctx, s.expected(), expected{
		ID: arrivalID(e.CampaignID, e.UserID), Campaign: e.CampaignID, UserID: e.UserID, At: e.At,
	})
	if errors.Is(err, errExists) {
		return nil
	}
	return err
}

// Expected implements campaign.Expectations.
func (s *Store) Expected(ctx context.Context, before time.Time, limit int) ([]campaign.Expected, error) {
	opts := options.Find().SetSort(bson.D{{Key: "at", Value: 1}, {Key: "_id", Value: 1}}).SetLimit(int64(limit))
	cursor, err := s.expected().Find(ctx, bson.D{{Key: "at", Value: bson.D{{Key: "$lt", Value: before}}}}, opts)
	if err != nil {
		return nil, classify("find in expected", err)
	}
	var docs []expected
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, classify("find in expected", err)
	}
	found := make([]campaign.Expected, len(docs))
	for i, d := range docs {
		found[i] = campaign.Expected{CampaignID: d.Campaign, UserID: d.UserID, At: d.At.UTC()}
	}
	return found, nil
}

// Unexpect implements campaign.Expectations.
func (s *Store) Unexpect(ctx context.Context, done []campaign.Expected) error {
	if len(done) == 0 {
		return nil
	}
	models := make([]mongo.WriteModel, len(done))
	for i, e := range done {
		models[i] = mongo.NewDeleteOneModel().SetFilter(bson.D{{Key: "_id", Value: arrivalID(e.CampaignID, e.UserID)}})
	}
	_, err := s.expected().BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	return classify("delete from expected", err)
}
