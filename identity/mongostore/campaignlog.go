package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/earlybird/earlybird/identity/campaign"
)

var _ campaign.Store = (*Store)(nil)

// campaignLog is the collection of the campaigns' entries.
const campaignLog = "campaign_log"

// logBatch is how many entries a scan gets from the server at once. With 500
// users each they are 15 MB.
const logBatch = 1000

// logEntry is a document of the collection campaign_log. Its members are those of
// the entry's JSON, which its hash is made of; times are dates.
type logEntry struct {
	ID     string    `bson:"_id"`
	Kind   string    `bson:"kind"`
	At     time.Time `bson:"at"`
	Hash   string    `bson:"hash"`
	Random string    `bson:"id"`

	Decision *logDecision `bson:",inline"` // every kind but arrive
	Arrivals *logArrivals `bson:",inline"` // arrive
	Settings *logSettings `bson:",inline"` // start, change, some of reinstate

	Origin string   `bson:"origin,omitempty"`
	Epoch  int64    `bson:"epoch,omitempty"`
	User   string   `bson:"user,omitempty"`
	Lost   *logLost `bson:"lost,omitempty"`
}

type logDecision struct {
	Limit int64  `bson:"limit"`
	By    string `bson:"by"`
}

type logArrivals struct {
	Users []string `bson:"users"`
	First int64    `bson:"first"`
}

type logSettings struct {
	Name        string    `bson:"name"`
	Description string    `bson:"description"`
	Discount    int64     `bson:"discount"`
	Slots       int64     `bson:"slots"`
	Waitlist    int64     `bson:"waitlist"`
	StartsAt    time.Time `bson:"starts_at"`
	EndsAt      time.Time `bson:"ends_at,omitempty"`
	Rehearsal   bool      `bson:"rehearsal,omitempty"`
}

type logLost struct {
	Epoch int64  `bson:"epoch"`
	Seq   int64  `bson:"seq"`
	Hash  string `bson:"hash"`
	Last  int64  `bson:"last"`
}

func newLogEntry(e campaign.Entry) logEntry {
	doc := logEntry{
		ID: e.DocumentID(), Kind: string(e.Kind), At: e.At, Hash: e.Hash.String(), Random: e.ID,
		Origin: e.Origin, Epoch: e.Epoch, User: e.User,
	}
	if e.Kind == campaign.KindArrive {
		doc.Arrivals = &logArrivals{e.Users, e.First}
	} else {
		doc.Decision = &logDecision{e.Limit, e.By}
	}
	if s := e.Settings; s != nil {
		settings := logSettings(*s)
		doc.Settings = &settings
	}
	if l := e.Lost; l != nil {
		doc.Lost = &logLost{l.Epoch, l.Seq, l.Hash.String(), l.Last}
	}
	return doc
}

// entryOf reads a document of the collection. One that is no entry is a
// *campaign.DamageError. It is not judged whether the entry may be where it is:
// the fold does that, by the hash.
func entryOf(raw bson.Raw) (campaign.Entry, error) {
	damaged := func(err error) (campaign.Entry, error) {
		id, isText := raw.Lookup("_id").StringValueOK()
		if !isText {
			id = raw.Lookup("_id").String()
		}
		return campaign.Entry{}, &campaign.DamageError{Entry: id, Reason: "is no entry: " + err.Error()}
	}
	var doc logEntry
	if err := bson.Unmarshal(raw, &doc); err != nil {
		return damaged(err)
	}
	e := campaign.Entry{
		Kind: campaign.Kind(doc.Kind), At: doc.At, ID: doc.Random, Origin: doc.Origin, Epoch: doc.Epoch, User: doc.User,
	}
	var err error
	if e.Campaign, e.Seq, err = campaign.ParseEntryID(doc.ID); err != nil {
		return damaged(err)
	}
	if e.Hash, err = campaign.ParseHash(doc.Hash); err != nil {
		return damaged(err)
	}
	if e.Kind == "" {
		return damaged(errors.New("it has no kind"))
	}
	if d := doc.Decision; d != nil {
		e.Limit, e.By = d.Limit, d.By
	}
	if a := doc.Arrivals; a != nil {
		e.Users, e.First = a.Users, a.First
	}
	if doc.Settings != nil {
		s := campaign.Settings(*doc.Settings)
		e.Settings = &s
	}
	if l := doc.Lost; l != nil {
		e.Lost = &campaign.Lost{Place: campaign.Place{Epoch: l.Epoch, Seq: l.Seq}, Last: l.Last}
		if e.Lost.Hash, err = campaign.ParseHash(l.Hash); err != nil {
			return damaged(fmt.Errorf("lost: %w", err))
		}
	}
	return e, nil
}

// Append implements campaign.Store.
//
// It runs the insert as a plain command, because the driver sends an InsertOne
// again when the answer is lost, which is an option of the whole client: an
// insert that arrives for a second time after the database was restored from a
// backup would leave a gap before it. The driver repeats a plain command only
// when the server was overloaded and says that it did nothing.
func (s *Store) Append(ctx context.Context, e campaign.Entry) error {
	op := "append " + e.DocumentID()
	err := s.db.RunCommand(ctx, bson.D{
		{Key: "insert", Value: campaignLog},
		{Key: "documents", Value: bson.A{newLogEntry(e)}},
		{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}},
	}).Err()
	if mongo.IsDuplicateKeyError(err) { // also with a write concern error: it is a hint in any case
		return fmt.Errorf("%s: %w", op, campaign.ErrTaken)
	}
	return classify(op, err)
}

// Entry implements campaign.Store. The time that ctx or the configuration leave
// is the server's as well, by maxTimeMS: a primary that has lost its majority
// would try for ever.
func (s *Store) Entry(ctx context.Context, number, seq int64) (campaign.Entry, error) {
	id := campaign.EntryID(number, seq)
	linearizable := options.Collection().SetReadConcern(readconcern.Linearizable())
	raw, err := s.db.Collection(campaignLog, linearizable).FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return campaign.Entry{}, fmt.Errorf("find %s: %w", id, campaign.ErrNoEntry)
	}
	if err != nil {
		return campaign.Entry{}, classify("find "+id, err)
	}
	return entryOf(raw)
}

// Entries implements campaign.Store. MongoDB reads a range of the index on `_id`.
// FerretDB has no index for ranges: it reads and sorts the whole collection, of
// all campaigns, before the first answer. A first scan should have a ctx whose
// deadline allows that; it takes the place of the configured timeout.
func (s *Store) Entries(ctx context.Context, number, from int64) iter.Seq2[campaign.Entry, error] {
	return func(yield func(campaign.Entry, error) bool) {
		const op = "read " + campaignLog
		filter := bson.D{{Key: "_id", Value: bson.D{
			{Key: "$gte", Value: campaign.EntryID(number, from)},
			{Key: "$lt", Value: strconv.FormatInt(number, 10) + ";"}, // what follows the colon
		}}}
		opts := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(logBatch)
		cursor, err := s.db.Collection(campaignLog).Find(ctx, filter, opts)
		if err != nil {
			yield(campaign.Entry{}, classify(op, err))
			return
		}
		defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }() // the server must not keep it
		for cursor.Next(ctx) {
			e, err := entryOf(cursor.Current)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := cursor.Err(); err != nil {
			yield(campaign.Entry{}, classify(op, err))
		}
	}
}

// Now implements campaign.Store: the server's clock when it answered, and half
// of the time that the question took.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	asked := time.Now()
	if err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return time.Time{}, classify("hello", err)
	}
	if hello.LocalTime.IsZero() {
		return time.Time{}, errors.New("mongodb: hello: the server does not tell its time")
	}
	return hello.LocalTime.Add(time.Since(asked) / 2), nil
}
