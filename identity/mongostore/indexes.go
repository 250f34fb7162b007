package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/identity/program"
)

// index is one that the store uses beside those of `_id`. Without it everything
// is right, but slow, or grows.
type index struct {
	collection, name string
	keys             bson.D
	// expires says that the server deletes documents this long after the one time in
	// keys; a server may have no such index, and the store prunes then.
	expires bool
	after   time.Duration
	// keep leaves another after as it is.
	keep bool
}

// indexes are all of them. A name stays with its purpose: with other keys than
// before, Open makes the index anew.
func (s *Store) indexes() []index {
	retention := index{
		collection: "logins", name: "retention", keys: bson.D{{Key: "at", Value: 1}}, expires: true, after: s.retention,
	}
	if s.retention == 0 {
		retention.after, retention.keep = auditRetention, true
	}
	return []index{
		{collection: "logins", name: "attempts", keys: bson.D{{Key: "user_id", Value: 1}, {Key: "at", Value: -1}, {Key: "_id", Value: -1}}},
		retention,
		{collection: "actions", name: "time", keys: bson.D{{Key: "at", Value: 1}, {Key: "_id", Value: 1}}},
		{collection: "revocations", name: "latest", keys: bson.D{{Key: "at", Value: 1}}},
		{collection: "revocations", name: "expiry", keys: bson.D{{Key: "until", Value: 1}}, expires: true},
		{collection: "enrolments", name: "expiry", keys: bson.D{{Key: "expires", Value: 1}}, expires: true},
	}
}

const (
	// indexTimeout is the time that a server may take to build an index of a large
	// collection. One that is cut off would begin again with the next attempt, for ever;
	// a server that is gone is noticed by the driver's own probes.
	indexTimeout = 24 * time.Hour
	// longBuild is when a build is worth a line in the log: the service is not ready
	// before it is done.
	longBuild = 5 * time.Second
)

// prepareIndexes creates the indexes that are not there, and changes those that
// are different. What the server refuses for another reason than an outage is
// logged, and everything works without it.
func (s *Store) prepareIndexes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	for _, i := range s.indexes() {
		long := time.AfterFunc(longBuild, func() {
			s.log.InfoContext(ctx, "the server is building an index; of a large collection that takes minutes", "collection", i.collection, "index", i.name)
		})
		err := s.prepareIndex(ctx, i)
		long.Stop()
		var refused mongo.CommandError
		if errors.As(err, &refused) && !unreachable(err) && !unable(err) {
			s.log.LogAttrs(ctx, refusal(refused), "the server refused an index",
				slog.String("collection", i.collection), slog.String("index", i.name), slog.Any("err", err))
			continue
		}
		if err != nil {
			return classify("index "+i.collection, err)
		}
		if i.collection == "logins" && i.expires {
			s.expires = true
		}
	}
	return nil
}

func (s *Store) prepareIndex(ctx context.Context, i index) error {
	const indexNotFound, indexOptionsConflict, indexKeySpecsConflict = 27, 85, 86
	opts := options.Index().SetName(i.name)
	if i.expires {
		opts.SetExpireAfterSeconds(int32(i.after.Seconds()))
	}
	indexes := s.db.Collection(i.collection).Indexes()
	_, err := indexes.CreateOne(ctx, mongo.IndexModel{Keys: i.keys, Options: opts})
	var refused mongo.CommandError
	switch {
	case err == nil || !errors.As(err, &refused):
		return err
	case refused.HasErrorCode(indexOptionsConflict) && i.expires && i.keep:
		return nil
	case refused.HasErrorCode(indexOptionsConflict) && i.expires:
		return s.db.RunCommand(ctx, bson.D{
			{Key: "collMod", Value: i.collection},
			{Key: "index", Value: bson.D{{Key: "name", Value: i.name}, {Key: "expireAfterSeconds", Value: int32(i.after.Seconds())}}},
		}).Err()
	case refused.HasErrorCode(indexKeySpecsConflict):
		dropErr := indexes.DropOne(ctx, i.name)
		gone := errors.As(dropErr, &refused) && refused.HasErrorCode(indexNotFound) // another replica was faster
		if dropErr != nil && !gone {
			return dropErr
		}
		_, err = indexes.CreateOne(ctx, mongo.IndexModel{Keys: i.keys, Options: opts})
	}
	return err
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

// IndexFault is an index that is not as Open makes it.
type IndexFault struct {
	Collection, Name string
	Problem          string // "is missing"
}

// IndexFaults looks for indexes that are missing, or differ from what Open would
// make with the same Config. A zero AuditRetention is compared with nothing. The
// error may be an *unavailable.Error.
func (s *Store) IndexFaults(ctx context.Context) ([]IndexFault, error) {
	found := map[string][]mongo.IndexSpecification{}
	var faults []IndexFault
	for _, want := range s.indexes() {
		if found[want.collection] == nil {
			specifications, err := s.db.Collection(want.collection).Indexes().ListSpecifications(ctx)
			if err != nil {
				return nil, classify("list indexes of "+want.collection, err)
			}
			found[want.collection] = specifications
		}
		if problem := want.compare(found[want.collection]); problem != "" {
			faults = append(faults, IndexFault{want.collection, want.name, problem})
		}
	}
	return faults, nil
}

// compare tells what is wrong with an index among those that there are, or "".
func (i index) compare(found []mongo.IndexSpecification) string {
	at := slices.IndexFunc(found, func(have mongo.IndexSpecification) bool { return have.Name == i.name })
	if at < 0 {
		return "is missing"
	}
	have := found[at]
	var keys bson.D
	if err := bson.Unmarshal(have.KeysDocument, &keys); err != nil || !slices.EqualFunc(keys, i.keys, sameKey) {
		return fmt.Sprintf("has the keys %s", have.KeysDocument)
	}
	switch {
	case i.expires && have.ExpireAfterSeconds == nil:
		return "does not expire anything"
	case i.expires && !i.keep && time.Duration(*have.ExpireAfterSeconds)*time.Second != i.after.Truncate(time.Second):
		return fmt.Sprintf("deletes after %s, not %s", program.FormatDays(time.Duration(*have.ExpireAfterSeconds)*time.Second), program.FormatDays(i.after))
	}
	return ""
}

// sameKey compares a field and its direction, which a shell may have made a double.
func sameKey(a, b bson.E) bool {
	descends := func(v any) bool { return strings.HasPrefix(fmt.Sprint(v), "-") }
	return a.Key == b.Key && descends(a.Value) == descends(b.Value)
}
