package mongostore

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
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

// action is a document of the collection actions.
type action struct {
	ID     bson.ObjectID `bson:"_id"`
	Action `bson:",inline"`
}

// RecordAction appends to the log of what operators did. It may fail with an
// *unavailable.Error.
func (s *Store) RecordAction(ctx context.Context, a Action) error {
	err := s.insert(ctx, s.db.Collection("actions"), action{bson.NewObjectID(), a})
	if errors.Is(err, errExists) { // the answer to the first try was lost
		return nil
	}
	return err
}

// ActionFilter chooses actions; what is empty chooses all.
type ActionFilter struct {
	Since time.Time // at or after
	By    string    // by whom
	// On whom: a user, or a customer of the bank. With both, on either.
	UserID, Customer string
}

// Actions yields what operators did, in order of time. It ends with the first error.
func (s *Store) Actions(ctx context.Context, f ActionFilter) iter.Seq2[Action, error] {
	filter := bson.D{}
	if f.By != "" {
		filter = append(filter, bson.E{Key: "by", Value: f.By})
	}
	var whom bson.A
	for _, one := range []struct{ name, value string }{{"user_id", f.UserID}, {"customer", f.Customer}} {
		if one.value != "" {
			whom = append(whom, bson.D{{Key: one.name, Value: one.value}})
		}
	}
	if len(whom) > 0 {
		filter = append(filter, bson.E{Key: "$or", Value: whom})
	}
	if !f.Since.IsZero() {
		filter = append(filter, bson.E{Key: "at", Value: bson.D{{Key: "$gte", Value: f.Since}}})
	}
	inOrder := options.Find().SetSort(bson.D{{Key: "at", Value: 1}, {Key: "_id", Value: 1}})
	return read(ctx, s.db.Collection("actions"), filter, inOrder, func(a action) Action {
		a.At = a.At.UTC()
		return a.Action
	})
}
