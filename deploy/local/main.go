// Command earlybird-local runs all of Earlybird on one machine, in the
// foreground, until Ctrl-C.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/deploy/local/mongodb"
	"github.com/earlybird/earlybird/deploy/local/stack"
	"github.com/earlybird/earlybird/identity/program"
)

func main() {
	ctx, stop := program.NotifyContext(context.Background())
	err := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "earlybird-local:", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	var usage usageError
	if errors.As(err, &usage) {
		os.Exit(2)
	}
	os.Exit(1)
}

// usageError is a wrong command line.
type usageError struct{ error }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	app := &cli.App{
		Name:            "earlybird-local",
		Usage:           "run all of Earlybird on one machine, in the foreground",
		Version:         program.Version(),
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		Flags:           flags(),
		Commands:        []*cli.Command{mongodb.Command()},
		Action:          func(c *cli.Context) error { return runStack(c, stdout, stderr) },
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler:  func(*cli.Context, error) {}, // main exits
	}
	for _, command := range app.Commands {
		command.OnUsageError = app.OnUsageError
	}
	return app.RunContext(ctx, args)
}

func flags() []cli.Flag {
	address := func(name, env, value, what string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: []string{env}, Value: value, Usage: "`ADDRESS` of " + what}
	}
	return []cli.Flag{
		address("gateway", "EARLYBIRD_GATEWAY", stack.DefaultGateway, "the gateway, a stand-in for Kong"),
		address("identity", "EARLYBIRD_IDENTITY", stack.DefaultIdentity, "the identity service"),
		address("mongo", "EARLYBIRD_MONGO", stack.DefaultMongo, "the embedded MongoDB"),
		address("redis", "EARLYBIRD_REDIS", stack.DefaultRedis, "Redis"),
		address("shop", "EARLYBIRD_SHOP", "", "the example shop behind the gateway; without it, a free port"),
		&cli.StringFlag{Name: "data", EnvVars: []string{"EARLYBIRD_DATA"}, Value: "var", Usage: "`FOLDER` of the state"},
		&cli.BoolFlag{Name: "no-gateway", EnvVars: []string{"EARLYBIRD_NO_GATEWAY"}, Usage: "run everything else, for a real Kong in the gateway's place"},
		&cli.BoolFlag{Name: "miniredis", EnvVars: []string{"EARLYBIRD_MINIREDIS"}, Usage: "use the embedded Redis, also when redis-server is there"},
		&cli.StringFlag{Name: "registration", EnvVars: []string{"EARLYBIRD_REGISTRATION"}, Value: "open", Usage: "`WHO` may register: open (anybody) or code (who has an enrolment code)"},
		&cli.StringFlag{Name: "redis-server", EnvVars: []string{"EARLYBIRD_TEST_REDIS_SERVER"}, Usage: "`PROGRAM` to start as Redis, such as valkey-server; default: redis-server, else the embedded one"},
		&cli.StringFlag{Name: "log-level", EnvVars: []string{"EARLYBIRD_LOG_LEVEL"}, Value: "warn", Usage: "least `LEVEL` that is logged: debug, info, warn or error"},
	}
}

func runStack(c *cli.Context, stdout, stderr io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's folder: %w", err)
	}
	cfg := stack.Config{
		Gateway: c.String("gateway"), Identity: c.String("identity"), Mongo: c.String("mongo"), Redis: c.String("redis"), Shop: c.String("shop"),
		Data: c.String("data"), Programs: filepath.Dir(program), Miniredis: c.Bool("miniredis"), RedisServer: c.String("redis-server"),
		Registration: cmp.Or(c.String("registration"), "open"),
		Stdout:       stdout, Stderr: stderr,
	}
	if c.Bool("no-gateway") {
		cfg.Gateway = ""
	}
	if err := check(c, &cfg); err != nil {
		return usageError{err}
	}
	return stack.Run(c.Context, cfg)
}

// check reports everything that is wrong with the command line, and sets the
// level.
func check(c *cli.Context, cfg *stack.Config) error {
	var faults []error
	if c.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unknown command %q; see earlybird-local --help", c.Args().First()))
	}
	if err := cfg.LogLevel.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		faults = append(faults, fmt.Errorf("--log-level %q: must be debug, info, warn or error", c.String("log-level")))
	}
	if cfg.Registration != "open" && cfg.Registration != "code" {
		faults = append(faults, fmt.Errorf("--registration %q: must be open or code", cfg.Registration))
	}
	if !c.Bool("no-gateway") && cfg.Gateway == "" {
		faults = append(faults, errors.New("--gateway: must not be empty; --no-gateway runs everything else"))
	}
	return errors.Join(append(faults, cfg.Validate())...)
}
