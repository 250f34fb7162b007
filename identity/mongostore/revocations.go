package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/identity/revocation"
)

var _ revocation.Store = (*Store)(nil)

// revoked is a document of the collection revocations. Its `_id` is the jti, or
// "user:generation".
type revoked struct {
	ID         string    `bson:"_id"`
	UserID     string    `bson:"user_id,omitempty"`
	Generation int64     `bson:"generation,omitempty"`
	At         time.Time `bson:"at"`
	Until      time.Time `bson:"until"`
}

func (d revoked) revocation() revocation.Revocation {
	r := revocation.Revocation{UserID: d.UserID, Generation: d.Generation, At: d.At.UTC(), Until: d.Until.UTC()}
	if d.UserID == "" {
		r.TokenID = d.ID
	}
	return r
}

func (s *Store) revocations() *mongo.Collection { return s.db.Collection("revocations") }

// AddRevocation implements revocation.Store.
func (s *Store) AddRevocation(ctx context.Context, r revocation.Revocation) error {
	err := s.insert(ctx, s.revocations(), revoked{
		ID: r.ID(), UserID: r.UserID, Generation: r.Generation, At: r.At, Until: r.Until,
	})
	if errors.Is(err, errExists) {
		return fmt.Errorf("insert into revocations: %w", revocation.ErrExists)
	}
	return err
}

// Revocations implements revocation.Store.
func (s *Store) Revocations(ctx context.Context, since, now time.Time) iter.Seq2[revocation.Revocation, error] {
	filter := bson.D{{Key: "until", Value: bson.D{{Key: "$gt", Value: now}}}}
	if !since.IsZero() {
		filter = append(filter, bson.E{Key: "at", Value: bson.D{{Key: "$gte", Value: since}}})
	}
	return read(ctx, s.revocations(), filter, options.Find(), revoked.revocation)
}

// RevocationsOf yields what is kept of the ends of a user's sessions, for an export
// of what is stored of one person. A single token's revocation does not name its user.
func (s *Store) RevocationsOf(ctx context.Context, userID string) iter.Seq2[revocation.Revocation, error] {
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: userID + ":"}, {Key: "$lt", Value: userID + ";"}}}} // ; follows :
	return read(ctx, s.revocations(), filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}), revoked.revocation)
}

// PruneRevocations implements revocation.Store. Where the server expires
// documents by itself it finds little to do.
func (s *Store) PruneRevocations(ctx context.Context, now time.Time) error {
	_, err := s.revocations().DeleteMany(ctx, bson.D{{Key: "until", Value: bson.D{{Key: "$lte", Value: now}}}})
	return classify("delete from revocations", err)
}
