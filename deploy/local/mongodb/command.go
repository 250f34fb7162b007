package mongodb

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

// Command runs the embedded MongoDB alone: it prints its URL on standard
// output when it is ready, and serves until its context ends.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "mongodb",
		Usage: "run the embedded MongoDB alone and print its URL",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:27117", Usage: "`ADDRESS` to listen on; port 0 picks a free one"},
			&cli.StringFlag{Name: "data", Usage: "`FOLDER` to keep the data in (default: a temporary one, removed at the end)"},
			&cli.BoolFlag{Name: "volatile", Usage: "do not wait for the disk; for tests"},
			&cli.BoolFlag{Name: "stop-on-eof", Usage: "stop when standard input ends, as it does when the parent process dies"},
		},
		Action: func(c *cli.Context) error {
			return serveAlone(c.Context, aloneConfig{
				Listen: c.String("listen"), Dir: c.String("data"), Volatile: c.Bool("volatile"),
				StopOnEOF: c.Bool("stop-on-eof"), Stdin: os.Stdin, Stdout: c.App.Writer,
			})
		},
	}
}

type aloneConfig struct {
	Listen, Dir         string
	Volatile, StopOnEOF bool
	Stdin               io.Reader
	Stdout              io.Writer
}

func serveAlone(ctx context.Context, cfg aloneConfig) error {
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "earlybird-mongodb-")
		if err != nil {
			return fmt.Errorf("temporary folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		cfg.Dir = dir
	}
	server, err := New(Config{Listen: cfg.Listen, Dir: cfg.Dir, Volatile: cfg.Volatile, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if cfg.StopOnEOF {
		go func() {
			_, _ = io.Copy(io.Discard, cfg.Stdin)
			stop()
		}()
	}
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	if _, err := fmt.Fprintln(cfg.Stdout, server.URL()); err != nil {
		stop()
	}
	return g.Wait()
}
