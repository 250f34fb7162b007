package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The results of an Action.
const (
	ResultBegun  = "begun"
	ResultDone   = "done"
	ResultFailed = "failed"
	// ResultPending is done, while the gateways do not know of it yet.
	ResultPending = "pending"
)

// Action is what an operator did, a document of the collection actions. Each is
// recorded twice: before it is done, and how it ended.
type Action struct {
	At       time.Time `bson:"at"`
	By       string    `bson:"by"`   // who
	Name     string    `bson:"name"` // the command, such as "campaign pause"
	Campaign int64     `bson:"campaign,omitempty"`
	UserID   string    `bson:"user_id,omitempty"`
	Customer string    `bson:"customer,omitempty"`
	Entry    string    `bson:"entry,omitempty"`  // the `_id` of the entry that it appended to a campaign's log
	Reason   string    `bson:"reason,omitempty"` // in the operator's words, for what is done to a person
	Result   string    `bson:"result"`           // ResultBegun, then one of the others
	Detail   string    `bson:"detail,omitempty"`
}

// RecordAction appends to the log of what operators did. It may fail with an
// *unavailable.Error.
func (s *Store) RecordAction(ctx context.Context, a Action) error {
	err := s.insert(ctx, s.db.Collection("actions"), struct {
		ID     bson.ObjectID `bson:"_id"`
		Action `bson:",inline"`
	}{bson.NewObjectID(), a})
	if errors.Is(err, errExists) { // the answer to the first try was lost
		return nil
	}
	return err
}
