package mongostore

import (
	"context"
	"crypto/rand"
	"errors"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// origin is the document of the collection meta that names the database.
type origin struct {
	ID    string `bson:"_id"`
	Value string `bson:"value"`
}

const originID = "origin"

func (s *Store) meta() *mongo.Collection {
	return s.db.Collection("meta", options.Collection().SetReadConcern(readconcern.Majority()))
}

// Origin returns the random id of this database, of 130 bits in base32, by which
// a Redis shows whose copies it holds. The first call ever makes it; it never
// changes then, and a restored dump brings it back. It is read once and
// remembered. It fails with an *unavailable.Error when MongoDB does not answer.
func (s *Store) Origin(ctx context.Context) (string, error) {
	if known := s.origin.Load(); known != nil {
		return *known, nil
	}
	var held origin
	err := s.find(ctx, s.meta(), originID, &held)
	if errors.Is(err, errMissing) {
		err = s.insert(ctx, s.meta(), origin{ID: originID, Value: rand.Text()})
		if err == nil || errors.Is(err, errExists) { // whichever process inserted it: read the stored one
			err = s.find(ctx, s.meta(), originID, &held)
		}
		if errors.Is(err, errMissing) { // another's insert, which no majority has yet
			err = unavailable.New(dependency, "make the origin", err)
		}
	}
	if err != nil {
		return "", err
	}
	if held.Value == "" {
		return "", errors.New("mongodb: the document origin in meta has no value")
	}
	s.origin.Store(&held.Value)
	return held.Value, nil
}
