package mongostore

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
)

// login is a document of the collection logins. Its `_id` is made here, not by
// the driver, so that a repeated insert is the same document.
type login struct {
	ID        bson.ObjectID `bson:"_id"`
	UserID    string        `bson:"user_id"`
	At        time.Time     `bson:"at"`
	Outcome   string        `bson:"outcome"`
	IP        string        `bson:"ip"`
	RequestID string        `bson:"request_id"`
}

func (s *Store) logins() *mongo.Collection { return s.db.Collection("logins") }

// RecordAttempt implements account.Store.
func (s *Store) RecordAttempt(ctx context.Context, a account.Attempt) error {
	err := s.insert(ctx, s.logins(), login{
		ID: bson.NewObjectID(), UserID: a.UserID, At: a.At, Outcome: string(a.Outcome), IP: a.IP, RequestID: a.RequestID,
	})
	if errors.Is(err, errExists) { // ids are random: the first try stored this one
		return nil
	}
	return err
}

// AttemptsOf implements account.AdminStore.
func (s *Store) AttemptsOf(ctx context.Context, userID string) iter.Seq2[account.Attempt, error] {
	latestFirst := options.Find().SetSort(bson.D{{Key: "at", Value: -1}, {Key: "_id", Value: -1}})
	return read(ctx, s.logins(), bson.D{{Key: "user_id", Value: userID}}, latestFirst, func(l login) account.Attempt {
		return account.Attempt{
			UserID: l.UserID, At: l.At.UTC(), Outcome: account.Outcome(l.Outcome), IP: l.IP, RequestID: l.RequestID,
		}
	})
}

// ForgetAddresses implements account.AdminStore.
func (s *Store) ForgetAddresses(ctx context.Context, userID string) (int64, error) {
	filter := bson.D{{Key: "user_id", Value: userID}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "ip", Value: bson.D{{Key: "$ne", Value: ""}}}},
		bson.D{{Key: "request_id", Value: bson.D{{Key: "$ne", Value: ""}}}},
	}}}
	without := bson.D{{Key: "$set", Value: bson.D{{Key: "ip", Value: ""}, {Key: "request_id", Value: ""}}}}
	changed, err := s.logins().UpdateMany(ctx, filter, without)
	if err != nil {
		return 0, classify("update logins", err)
	}
	return changed.ModifiedCount, nil
}

// Logins yields the successful logins from a time until another, in any order,
// for an audit of a campaign. It ends with the first error.
func (s *Store) Logins(ctx context.Context, from, until time.Time) iter.Seq2[campaign.Login, error] {
	filter := bson.D{
		{Key: "outcome", Value: string(account.OutcomeSuccess)},
		{Key: "at", Value: bson.D{{Key: "$gte", Value: from}, {Key: "$lt", Value: until}}},
	}
	return read(ctx, s.logins(), filter, options.Find(), func(l login) campaign.Login {
		return campaign.Login{UserID: l.UserID, At: l.At.UTC(), Address: l.IP}
	})
}

// PruneAttempts removes the attempts before a time, for servers that do not do
// so by themselves. It does nothing on those that do.
func (s *Store) PruneAttempts(ctx context.Context, before time.Time) error {
	if s.expires {
		return nil
	}
	_, err := s.logins().DeleteMany(ctx, bson.D{{Key: "at", Value: bson.D{{Key: "$lt", Value: before}}}})
	return classify("delete from logins", err)
}
