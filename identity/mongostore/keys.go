package mongostore

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/earlybird/earlybird/identity/keyring"
)

var _ keyring.SealedStore = (*Store)(nil)

// key is a document of the collection keys. A key that is not withdrawn has no
// retires_at.
type key struct {
	ID        string    `bson:"_id"`
	Public    []byte    `bson:"public"`
	Sealed    []byte    `bson:"sealed"`
	CreatedAt time.Time `bson:"created_at"`
	SignsAt   time.Time `bson:"signs_at"`
	RetiresAt time.Time `bson:"retires_at,omitempty"`
}

func (s *Store) keys() *mongo.Collection { return s.db.Collection("keys") }

// Keys implements keyring.Store.
func (s *Store) Keys(ctx context.Context) ([]keyring.Record, error) {
	cursor, err := s.keys().Find(ctx, bson.D{})
	if err != nil {
		return nil, classify("find in keys", err)
	}
	var stored []key
	if err := cursor.All(ctx, &stored); err != nil {
		return nil, classify("find in keys", err)
	}
	records := make([]keyring.Record, len(stored))
	for i, k := range stored {
		records[i] = k.record()
	}
	return records, nil
}

func (k key) record() keyring.Record {
	r := keyring.Record{
		ID: k.ID, Public: ed25519.PublicKey(k.Public), Sealed: k.Sealed,
		CreatedAt: k.CreatedAt.UTC(), SignsAt: k.SignsAt.UTC(),
	}
	if !k.RetiresAt.IsZero() {
		r.RetiresAt = k.RetiresAt.UTC()
	}
	return r
}

// AddKey implements keyring.Store. When an answer is lost, ErrKeyExists may be
// about this very record: a keyring then reads the stored one.
func (s *Store) AddKey(ctx context.Context, r keyring.Record) error {
	err := s.insert(ctx, s.keys(), key{
		ID: r.ID, Public: r.Public, Sealed: r.Sealed,
		CreatedAt: r.CreatedAt, SignsAt: r.SignsAt, RetiresAt: r.RetiresAt,
	})
	if errors.Is(err, errExists) {
		return fmt.Errorf("%w: %w", keyring.ErrKeyExists, err)
	}
	return err
}

// ReplaceSealed implements keyring.SealedStore. Only the operator's command
// calls it: two at once would seal with one and the same secret.
func (s *Store) ReplaceSealed(ctx context.Context, id string, old, sealed []byte) error {
	filter := bson.D{{Key: "_id", Value: id}, {Key: "sealed", Value: old}}
	change := bson.D{{Key: "$set", Value: bson.D{{Key: "sealed", Value: sealed}}}}
	_, err := s.keys().UpdateOne(ctx, filter, change)
	return classify("update keys", err)
}
