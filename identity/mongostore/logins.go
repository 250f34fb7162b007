package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
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

// LatestAttempts implements account.AdminStore.
func (s *Store) LatestAttempts(ctx context.Context, userID string, n int) ([]account.Attempt, error) {
	const what = "find in logins"
	cursor, err := s.logins().Find(ctx, bson.D{{Key: "user_id", Value: userID}},
		options.Find().SetSort(bson.D{{Key: "at", Value: -1}, {Key: "_id", Value: -1}}).SetLimit(int64(n)))
	if err != nil {
		return nil, classify(what, err)
	}
	var stored []login
	if err := cursor.All(ctx, &stored); err != nil {
		return nil, classify(what, err)
	}
	all := make([]account.Attempt, len(stored))
	for i, l := range stored {
		all[i] = account.Attempt{
			UserID: l.UserID, At: l.At.UTC(), Outcome: account.Outcome(l.Outcome), IP: l.IP, RequestID: l.RequestID,
		}
	}
	return all, nil
}

// Logins yields the successful logins from a time until another, in any order,
// for an audit of a campaign. It ends with the first error.
func (s *Store) Logins(ctx context.Context, from, until time.Time) iter.Seq2[campaign.Login, error] {
	filter := bson.D{
		{Key: "outcome", Value: string(account.OutcomeSuccess)},
		{Key: "at", Value: bson.D{{Key: "$gte", Value: from}, {Key: "$lt", Value: until}}},
	}
	return read(ctx, s.logins(), filter, options.Find(), func(l login) campaign.Login {
		return campaign.Login{UserID: l.UserID, At: l.At.UTC()}
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

const retentionIndex = "retention"

// prepareLogins has the server find the attempts of a user, and delete old
// ones where it can: for one that has no such index, see PruneAttempts. An
// index that was made for another retention is changed, unless the retention is
// zero: then it is left as it is, and made for the default if there is none.
func (s *Store) prepareLogins(ctx context.Context, retention time.Duration) error {
	change := retention != 0
	if !change {
		retention = auditRetention
	}
	_, err := s.logins().Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "user_id", Value: 1}, {Key: "at", Value: -1}},
		Options: options.Index().SetName("attempts"),
	})
	if err := s.indexRefused(ctx, err); err != nil {
		return err
	}
	seconds := int32(retention.Seconds())
	_, err = s.logins().Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "at", Value: 1}},
		Options: options.Index().SetName(retentionIndex).SetExpireAfterSeconds(seconds),
	})
	switch {
	case conflicts(err) && !change:
		err = nil
	case conflicts(err):
		err = s.db.RunCommand(ctx, bson.D{
			{Key: "collMod", Value: "logins"},
			{Key: "index", Value: bson.D{{Key: "name", Value: retentionIndex}, {Key: "expireAfterSeconds", Value: seconds}}},
		}).Err()
	}
	s.expires = err == nil
	return s.indexRefused(ctx, err)
}

// indexRefused logs that the server has refused an index, without which
// everything works; any other error is returned.
func (s *Store) indexRefused(ctx context.Context, err error) error {
	var refused mongo.CommandError
	if errors.As(err, &refused) && !unreachable(err) && !unable(err) {
		s.log.LogAttrs(ctx, refusal(refused), "the server refused an index of the login attempts", slog.Any("err", err))
		return nil
	}
	if err := classify("index logins", err); err != nil {
		return fmt.Errorf("prepare logins: %w", err)
	}
	return nil
}

// conflicts reports that there is an index of this name with other options.
func conflicts(err error) bool {
	const indexOptionsConflict, indexKeySpecsConflict = 85, 86
	var refused mongo.CommandError
	return errors.As(err, &refused) && (refused.HasErrorCode(indexOptionsConflict) || refused.HasErrorCode(indexKeySpecsConflict))
}

// refusal is the level at which a refused index is logged: a server that has
// none of the kind is not worth a warning at every start.
func refusal(err mongo.CommandError) slog.Level {
	const notImplemented, commandNotSupported = 238, 115
	if err.HasErrorCode(notImplemented) || err.HasErrorCode(commandNotSupported) {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
