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
			shareCores(&settings)
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

// shareCores gives Go a processor for each hash beside those for everything else,
// and leaves it to the system to share the cores. A hash holds its processor for
// 10 ms and more at a time: what takes microseconds, a probe or a request that is
// turned away, would wait that long for each turn. GOMAXPROCS wins. Of a CPU quota
// Go counts what it is now, and does not follow its changes any more.
func shareCores(c *config) {
	cores := runtime.GOMAXPROCS(0)
	if c.Hash.Concurrency == 0 {
		c.Hash.Concurrency = cores
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cores + c.Hash.Concurrency)
	}
}

const (
	// memoryBase is what Go has for everything that no setting bounds, also in a
	// burst of 2,000 logins. With what is remembered by default, and the program's own
	// file, of which 27 MiB come to be in memory, that is 64 MiB.
	memoryBase = 27 << 20
	// rememberedSize is what a token or a user takes that is remembered.
	rememberedSize = 512
)

// limitMemory bounds Go's memory. GOMEMLIMIT wins.
func limitMemory(c config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(c))
	}
}

// memoryLimit is the bound, with the memory of the hashes.
func memoryLimit(c config) int64 {
	hashes := int64(c.Hash.Concurrency) * int64(c.Hash.Params.MemoryKiB) << 10
	return memoryBase + rememberedSize*int64(c.TokenCacheSize+c.UserCacheSize) + hashes
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
