package mongodb

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

// serve runs a server on dir until the returned function is called.
func serve(t testing.TB, dir string) (*mongo.Client, func()) {
	t.Helper()
	server, err := New(Config{Listen: "127.0.0.1:0", Dir: dir, Volatile: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	client, err := mongo.Connect(options.Client().ApplyURI(server.URL()))
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = client.Disconnect(context.Background())
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
	return client, stop
}

// table returns the name of the only collection's table in the file of a
// database, and whether it has the index.
func table(ctx context.Context, db *sql.DB) (name string, indexed bool, err error) {
	err = db.QueryRowContext(ctx, `SELECT table_name FROM _ferretdb_collections`).Scan(&name)
	if err != nil {
		return "", false, err
	}
	var n int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = ?`, name+indexSuffix).Scan(&n)
	return name, n == 1, err
}

func awaitIndex(t testing.TB, path string) (db *sql.DB, name string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	deadline := time.Now().Add(20 * time.Second)
	for {
		name, indexed, err := table(t.Context(), db)
		if indexed {
			return db, name
		}
		if time.Now().After(deadline) {
			t.Fatalf("no index on table %q: %v", name, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLookupsByIDUseTheIndex(t *testing.T) {
	dir := t.TempDir()
	client, stop := serve(t, dir)
	defer stop()
	if _, err := client.Database("eb").Collection("users").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "u1"}}); err != nil {
		t.Fatal(err)
	}
	db, name := awaitIndex(t, filepath.Join(dir, "eb.sqlite"))

	// The statement FerretDB runs for a filter of exactly one _id.
	var id, parent, unused int
	var plan string
	query := fmt.Sprintf(`EXPLAIN QUERY PLAN SELECT _ferretdb_sjson FROM %q WHERE _ferretdb_sjson->'$._id' = ?`, name)
	if err := db.QueryRowContext(t.Context(), query, `"u1"`).Scan(&id, &parent, &unused, &plan); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "USING INDEX "+name+indexSuffix) {
		t.Errorf("the plan is %q, want a search of %s", plan, name+indexSuffix)
	}
}

func TestIndexFollowsADatabaseThatIsDroppedAndCreatedAgain(t *testing.T) {
	dir := t.TempDir()
	client, stop := serve(t, dir)
	defer stop()
	for range 2 {
		if _, err := client.Database("eb").Collection("users").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "u1"}}); err != nil {
			t.Fatal(err)
		}
		awaitIndex(t, filepath.Join(dir, "eb.sqlite"))
		if err := client.Database("eb").Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWritersAndTheIndexerDoNotDisturbEachOther(t *testing.T) {
	client, stop := serve(t, t.TempDir())
	defer stop()
	g, ctx := errgroup.WithContext(t.Context())
	for w := range 8 {
		g.Go(func() error {
			for i := range 20 {
				// A new collection now and then, so that indexes are made all the while.
				users := client.Database("eb").Collection(fmt.Sprintf("c%d", i/2))
				if _, err := users.InsertOne(ctx, bson.D{{Key: "_id", Value: fmt.Sprintf("%d-%d", w, i)}}); err != nil {
					return fmt.Errorf("writer %d, document %d: %w", w, i, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDataOutlivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder with spaces")
	for run := range 2 {
		client, stop := serve(t, dir)
		users := client.Database("eb").Collection("users")
		if run == 0 {
			if _, err := users.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "u1"}}); err != nil {
				t.Fatal(err)
			}
		} else if err := users.FindOne(t.Context(), bson.D{{Key: "_id", Value: "u1"}}).Err(); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		stop()
	}
}

func TestFoldersThatSQLiteWouldMisreadAreRefused(t *testing.T) {
	for _, name := range []string{"a?b", "a%20b", "a#b"} {
		_, err := New(Config{Listen: "127.0.0.1:0", Dir: filepath.Join(t.TempDir(), name), Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("folder %s: error %v, want one that names it", name, err)
		}
	}
}

// BenchmarkLookupByID measures one lookup among 50,000 documents through the
// MongoDB protocol.
func BenchmarkLookupByID(b *testing.B) {
	const documents = 50_000
	dir := b.TempDir()
	client, stop := serve(b, dir)
	defer stop()
	users := client.Database("eb").Collection("users")
	for start := 0; start < documents; start += 5000 {
		batch := make([]any, 5000)
		for i := range batch {
			batch[i] = bson.D{{Key: "_id", Value: fmt.Sprintf("user-%06d", start+i)}, {Key: "name", Value: "somebody"}}
		}
		if _, err := users.InsertMany(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(dir, "eb.sqlite")
	_, name := awaitIndex(b, path)
	lookup := func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			id := fmt.Sprintf("user-%06d", (i*7919)%documents)
			if err := users.FindOne(b.Context(), bson.D{{Key: "_id", Value: id}}).Err(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("indexed", lookup)
	stopIndexer(b, path, name)
	b.Run("FerretDB alone", lookup)
}

// stopIndexer takes the index away and keeps the indexer from bringing it
// back: by giving its name to an index on something else.
func stopIndexer(b *testing.B, path, name string) {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	swap := fmt.Sprintf(`BEGIN IMMEDIATE; DROP INDEX %[1]q; CREATE INDEX %[1]q ON %[2]q (length(_ferretdb_sjson)); COMMIT`, name+indexSuffix, name)
	if _, err := db.ExecContext(b.Context(), swap); err != nil {
		b.Fatal(err)
	}
}
