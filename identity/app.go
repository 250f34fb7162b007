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

	"github.com/earlybird/earlybird/identity/program"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usage marks an error as a usage error.
func usage(err error) error { return cli.Exit(err, exitUsage) }

func exitStatus(err error) int {
	var status cli.ExitCoder
	if errors.As(err, &status) {
		return status.ExitCode()
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
		Version:         program.Version(),
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		Flags:           flags(),
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usage(err) },
		ExitErrHandler:  func(*cli.Context, error) {}, // main decides
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage(fmt.Errorf("%q is not a command; try --help", c.Args().First()))
			}
			settings, err := load(c.String)
			if err != nil {
				return usage(err)
			}
			shareCores(&settings)
			limitMemory(settings)
			return run(c.Context, settings, stderr, nil)
		},
		Commands: []*cli.Command{{
			Name:  "healthcheck",
			Usage: "ask the service at --listen whether it is ready; exit 0 if it is, 1 if not",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "live", Usage: "ask whether it runs, ready or not (/livez)"},
				&cli.BoolFlag{Name: "serving", Usage: "ask whether it has started and is not stopping, whatever the stores do (/servingz)"},
			},
			OnUsageError: func(_ *cli.Context, err error, _ bool) error { return usage(err) },
			Action: func(c *cli.Context) error {
				path := "/readyz"
				switch {
				case c.Bool("live") && c.Bool("serving"):
					return usage(errors.New("--live and --serving are two questions: ask one"))
				case c.Bool("live"):
					path = "/livez"
				case c.Bool("serving"):
					path = "/servingz"
				}
				return healthcheck(c.Context, c.String("listen"), path)
			},
		}},
	}
}

// shareCores gives Go one processor more than there are hashes at once. A hash
// holds its processor for 10 ms and more; a probe, or a request that is rejected,
// takes microseconds and must not wait that long for its turn. GOMAXPROCS wins.
// Go reads a CPU quota once, here, and no longer follows its changes.
func shareCores(c *config) {
	cores := runtime.GOMAXPROCS(0)
	if c.Hash.Concurrency == 0 {
		c.Hash.Concurrency = cores
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(cores, c.Hash.Concurrency+1))
	}
}

const (
	// memoryBase is what Go may have for everything that no setting bounds. A burst
	// of 2,000 logins, each on a connection of its own, needs most of it.
	memoryBase = 80 << 20
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
