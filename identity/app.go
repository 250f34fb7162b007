package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a fault of whoever started the program.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

func exitStatus(err error) int {
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// newApp returns the command line. Logs go to stderr.
func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:            "earlybird-identity",
		Usage:           "accounts, logins and tokens of Earlybird",
		UsageText:       "earlybird-identity [flags]\nearlybird-identity [flags] healthcheck",
		Description:     "Every flag can be set by the environment variable shown with it; a flag wins.",
		Version:         version(),
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		Flags:           flags(),
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return &usageError{err} },
		ExitErrHandler:  func(*cli.Context, error) {}, // main decides
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return &usageError{fmt.Errorf("%q is not a command; try --help", c.Args().First())}
			}
			settings, err := load(c.String)
			if err != nil {
				return &usageError{err}
			}
			limitMemory(settings)
			return run(c.Context, settings, stderr, nil)
		},
		Commands: []*cli.Command{{
			Name:         "healthcheck",
			Usage:        "ask the service at --listen whether it is ready; exit 0 if it is, 1 if not",
			Flags:        []cli.Flag{&cli.BoolFlag{Name: "live", Usage: "ask whether it runs, ready or not"}},
			OnUsageError: func(_ *cli.Context, err error, _ bool) error { return &usageError{err} },
			Action: func(c *cli.Context) error {
				return healthcheck(c.Context, c.String("listen"), c.Bool("live"))
			},
		}},
	}
}

const (
	// memoryBase is the heap beside what is bounded by settings: with a connection
	// for each of 2,000 logins at once.
	memoryBase = 64 << 20
	// rememberedSize is what a token or a user takes that is remembered.
	rememberedSize = 512
)

// limitMemory bounds the heap. GOMEMLIMIT wins.
func limitMemory(c config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(c))
	}
}

// memoryLimit is the heap that is needed at least: for each hash that runs at
// once its own memory, and that of the one before, which the garbage collector
// has not freed yet, and what is remembered. A lower bound would have the memory
// of each hash given back to the system and asked for again, page by page, which
// takes a third of a hash.
func memoryLimit(c config) int64 {
	at := c.Hash.Concurrency
	if at == 0 {
		at = runtime.GOMAXPROCS(0)
	}
	hashing := 2 * int64(at) * int64(c.Hash.Params.MemoryKiB) << 10
	return memoryBase + hashing + rememberedSize*int64(c.TokenCacheSize+c.UserCacheSize)
}

// flags makes a flag of every setting. All are texts: urfave/cli stops at the
// first value it cannot convert, load reports every one.
func flags() []cli.Flag {
	all := make([]cli.Flag, 0, len(settingsTable))
	for _, s := range settingsTable {
		all = append(all, &cli.StringFlag{
			Name: s.name, Usage: s.usage, Value: s.value, EnvVars: []string{envName(s.name)},
		})
	}
	return all
}

func envName(flag string) string {
	return "EARLYBIRD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// version is what the Go toolchain stamped into the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}
