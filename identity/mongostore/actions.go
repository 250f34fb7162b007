package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// campaignAction is a document of the collection actions, beside what was done
// to accounts.
type campaignAction struct {
	ID       bson.ObjectID `bson:"_id"`
	At       time.Time     `bson:"at"`
	By       string        `bson:"by"`
	Name     string        `bson:"name"`
	Campaign string        `bson:"campaign"`
	Result   string        `bson:"result"`
	Detail   string        `bson:"detail"`
}

// RecordCampaignAction appends to the log of what operators did. It may fail
// with an *outage.Error.
func (s *Store) RecordCampaignAction(ctx context.Context, a campaign.Action) error {
	err := s.insert(ctx, s.db.Collection("actions"), campaignAction{
		ID: bson.NewObjectID(), At: a.At, By: a.By, Name: a.Name, Campaign: a.CampaignID, Result: a.Result, Detail: a.Detail,
	})
	if errors.Is(err, errExists) { // the answer to the first try was lost
		return nil
	}
	return err
}
