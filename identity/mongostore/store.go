// Package mongostore keeps accounts, signing keys, revocations and the log of
// campaigns in MongoDB.
//
// Everything rests on `_id`: every lookup is by exactly one `_id`, and where two
// writers compete, the insert of a unique `_id` decides. So each operation stays on
// a single shard, and the code is also correct on a server whose inserts are atomic
// and whose updates are not.
package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Store is a connection to one database. It is safe for concurrent use, heals
// by itself when the server comes back, and reports a server that does not
// answer as an *unavailable.Error.
type Store struct {
	client   *mongo.Client
	db       *mongo.Database // reads from the primary
	profiles *mongo.Database // reads as the URL says
	behind   bool            // profiles may be read from a secondary, behind the primary
	changing turns           // whose it is to update a credential
	// retention is for how long login attempts are kept; 0: as the index says.
	retention time.Duration
	expires   bool                   // the server deletes old login attempts by itself
	origin    atomic.Pointer[string] // of the database, once it is known
	log       *slog.Logger
}

// Open connects as Connect does, and creates the indexes that are not there.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := Connect(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.prepareIndexes(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Connect connects, waits until the primary answers, and changes nothing: for
// who looks at a database that the identity service has opened. An
// *unavailable.Error means that trying again may help; nothing is left open then.
func Connect(ctx context.Context, c Config) (*Store, error) {
	opts, database, err := c.options()
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("mongodb: %s", redact(err.Error(), c.URL))
	}
	s := &Store{
		client:   client,
		db:       client.Database(database, options.Database().SetReadPreference(readpref.Primary())),
		profiles: client.Database(database),
		behind:   opts.ReadPreference != nil && opts.ReadPreference.Mode() != readpref.PrimaryMode,
		changing: newTurns(), retention: c.AuditRetention,
		log: c.Log,
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Ping asks the primary for an answer.
func (s *Store) Ping(ctx context.Context) error {
	return classify("ping", s.client.Ping(ctx, readpref.Primary()))
}

// Close waits for what is in use and closes the connections.
func (s *Store) Close(ctx context.Context) error {
	if err := s.client.Disconnect(ctx); err != nil {
		return fmt.Errorf("mongodb: disconnect: %w", err)
	}
	return nil
}

// errExists reports an insert whose `_id` is held.
var errExists = errors.New("document exists")

// errMissing reports a lookup that found nothing.
var errMissing = errors.New("no such document")

// insert stores a document, or fails with errExists. When the answer is lost
// it asks once more, also where the driver cannot (it leaves a standalone
// server alone): so errExists may be about the very document that the first
// try stored, and callers compare what is there before they say who holds it.
func (s *Store) insert(ctx context.Context, c *mongo.Collection, doc any) error {
	_, err := c.InsertOne(ctx, doc)
	if interrupted(err) && ctx.Err() == nil {
		_, err = c.InsertOne(ctx, doc)
	}
	if mongo.IsDuplicateKeyError(err) {
		return fmt.Errorf("insert into %s: %w", c.Name(), errExists)
	}
	return classify("insert into "+c.Name(), err)
}

// find reads the document with this `_id` into out, or fails with errMissing.
func (s *Store) find(ctx context.Context, c *mongo.Collection, id, out any) error {
	err := c.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(out)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return fmt.Errorf("find in %s: %w", c.Name(), errMissing)
	}
	return classify("find in "+c.Name(), err)
}

// read yields the documents that match.
func read[D, T any](ctx context.Context, c *mongo.Collection, filter bson.D, opts options.Lister[options.FindOptions], domain func(D) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		cursor, err := c.Find(ctx, filter, opts)
		if err != nil {
			yield(zero, classify("find in "+c.Name(), err))
			return
		}
		defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }() // the server must not keep it
		for cursor.Next(ctx) {
			var doc D
			if err := cursor.Decode(&doc); err != nil {
				yield(zero, classify("read from "+c.Name(), err))
				return
			}
			if !yield(domain(doc), nil) {
				return
			}
		}
		if err := cursor.Err(); err != nil {
			yield(zero, classify("read from "+c.Name(), err))
		}
	}
}
