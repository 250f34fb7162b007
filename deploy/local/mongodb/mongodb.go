// Package mongodb is the MongoDB of the one-machine stack: FerretDB embedded
// on SQLite, with the index that makes its lookups by _id fast.
package mongodb

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/FerretDB/FerretDB/ferretdb"
	"golang.org/x/sync/errgroup"
)

// Config says where the server listens and keeps its files.
type Config struct {
	Listen string // TCP address, such as 127.0.0.1:27117; port 0 picks a free one
	Dir    string // folder of the SQLite files; made when missing
	// Volatile leaves writes to the operating system instead of waiting for
	// the disk: for tests, where nothing has to survive a power failure.
	Volatile bool
	Log      *slog.Logger
}

// A Server speaks the MongoDB protocol while Run runs.
type Server struct {
	dir string
	db  *ferretdb.FerretDB
	log *slog.Logger
}

// CheckDir refuses a folder that the server cannot keep its files in. FerretDB
// and SQLite take some characters for parts of a URL.
func CheckDir(dir string) error {
	if strings.ContainsAny(dir, "?%#") {
		return fmt.Errorf("mongodb folder %s: there must be no ?, %% or # in its path", dir)
	}
	return nil
}

// New opens the files and the listener; it serves once Run is called.
func New(cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("mongodb folder: %w", err)
	}
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mongodb folder: %w", err)
	}
	query := url.Values{}
	if cfg.Volatile {
		query.Add("_pragma", "synchronous(off)")
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: cfg.Listen},
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir) + "/", RawQuery: query.Encode()}).String(),
		Logger:    slog.New(quiet{cfg.Log.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("start the embedded MongoDB: %w", err)
	}
	return &Server{dir: dir, db: db, log: cfg.Log}, nil
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.db.Run(ctx) })
	g.Go(func() error { return newIndexer(s.dir, s.log).run(ctx) })
	return g.Wait()
}

// URL is the server's address as a mongodb:// URL without a database. Call it
// once Run has been started; it waits for the listener.
func (s *Server) URL() string { return s.db.MongoDBURI() }

// quiet passes on errors alone: FerretDB logs each connection at info, and at
// warn every answer that says no, a duplicate key for instance.
type quiet struct{ slog.Handler }

func (quiet) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
