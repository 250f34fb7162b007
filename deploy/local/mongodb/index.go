package mongodb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver FerretDB itself opens the files with
)

// indexEvery is how often new tables are looked for; a table has that long to
// grow without its index.
const indexEvery = 200 * time.Millisecond

// idExpression is what FerretDB's SQLite backend filters by when it looks a
// document up by _id. Its own index is on the expression
// _ferretdb_sjson->"_id", which SQLite takes for another one, so without this
// index every lookup reads the whole table.
const idExpression = `_ferretdb_sjson->'$._id'`

// indexSuffix ends the name of the index this package adds to a table.
const indexSuffix = "_by_id"

// unindexed finds the tables of collections that lack the index.
const unindexed = `SELECT t.name FROM sqlite_master t
	WHERE t.type = 'table' AND t.name NOT LIKE '\_ferretdb\_%' ESCAPE '\' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\'
	AND NOT EXISTS (SELECT 1 FROM sqlite_master i WHERE i.type = 'index' AND i.tbl_name = t.name AND i.name = t.name || '` + indexSuffix + `')`

// indexer gives every table in a folder of SQLite files an index on the
// expression FerretDB looks up by.
type indexer struct {
	dir   string
	log   *slog.Logger
	files map[string]*indexedFile
}

// indexedFile is one open SQLite file; info tells whether the path still
// leads to the same file after a database was dropped and created anew.
type indexedFile struct {
	db   *sql.DB
	info fs.FileInfo
}

func newIndexer(dir string, log *slog.Logger) *indexer {
	return &indexer{dir: dir, log: log, files: map[string]*indexedFile{}}
}

// run looks for new tables until ctx ends. A failure is logged and tried
// again: without the index everything works, only slower.
func (x *indexer) run(ctx context.Context) error {
	defer x.close()
	tick := time.NewTicker(indexEvery)
	defer tick.Stop()
	for {
		if err := x.sweep(ctx); err != nil && ctx.Err() == nil {
			x.log.WarnContext(ctx, "could not index an embedded collection", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweep indexes every table that lacks the index.
func (x *indexer) sweep(ctx context.Context) error {
	paths, err := filepath.Glob(filepath.Join(x.dir, "*.sqlite"))
	if err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	var errs []error
	for _, path := range paths {
		errs = append(errs, x.sweepFile(ctx, path))
	}
	return errors.Join(errs...)
}

func (x *indexer) sweepFile(ctx context.Context, path string) error {
	db, err := x.open(path)
	if db == nil || err != nil {
		return err
	}
	tables, err := lacking(ctx, db)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	for _, table := range tables {
		create := fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s)", quote(table+indexSuffix), quote(table), idExpression)
		if _, err := db.ExecContext(ctx, create); err != nil && !strings.Contains(err.Error(), "no such table") {
			return fmt.Errorf("index %s in %s: %w", table, filepath.Base(path), err)
		}
	}
	return nil
}

// open returns the open file at path, or nil while FerretDB has not finished
// creating it: the write-ahead log is there from then on, and only then does a
// second connection not get in the way of switching to it.
func (x *indexer) open(path string) (*sql.DB, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // dropped since it was listed
	}
	if file := x.files[path]; file != nil {
		if os.SameFile(file.info, info) {
			return file.db, nil
		}
		_ = file.db.Close()
		delete(x.files, path)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		return nil, nil //nolint:nilerr,nilnil // not ready yet
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=rw&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), err)
	}
	db.SetMaxOpenConns(1)
	x.files[path] = &indexedFile{db: db, info: info}
	return db, nil
}

func (x *indexer) close() {
	for _, file := range x.files {
		_ = file.db.Close()
	}
}

func lacking(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, unindexed)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, fmt.Errorf("list tables: %w", err)
		}
		tables = append(tables, table)
	}
	return tables, rows.Err()
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
