package pluginserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/earlybird/earlybird/identity/program"
)

// options are the process's own settings. Kong starts a plugin server with an
// empty environment, so they are flags.
type options struct {
	version      bool
	dump         bool
	socket       string
	level        slog.Level
	metrics      string
	redisURLFile string
}

// Main runs a plugin's executable and returns its exit status: 0 done, 1
// failed, 2 wrong usage.
func Main(args []string, stdout, stderr io.Writer, define func() Definition) int {
	definition := define()
	opts, err := parseOptions(args, stderr, definition.Name)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // the flag package has said why
	}
	switch {
	case opts.version:
		_, err = fmt.Fprintf(stdout, "%s version %s\n", definition.Name, program.Version())
	case opts.dump:
		err = WriteDump(stdout, definition, opts.socket)
	default:
		ctx, stop := program.NotifyContext(context.Background())
		defer stop()
		err = run(ctx, definition, opts, stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", definition.Name, err) // there is nowhere else to say it
		return 1
	}
	return 0
}

func parseOptions(args []string, stderr io.Writer, name string) (options, error) {
	var opts options
	var prefix string
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&opts.version, "version", false, "print the version, and exit")
	flags.BoolVar(&opts.dump, "dump", false, "print what Kong must know of the plugin, as JSON, and exit")
	flags.StringVar(&prefix, "kong-prefix", "/usr/local/kong", "Kong's prefix `folder`; the socket is <folder>/"+name+".socket")
	flags.StringVar(&opts.socket, "socket", "", "the socket's `path`, in place of -kong-prefix")
	flags.TextVar(&opts.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	flags.StringVar(&opts.metrics, "metrics-listen", "", "`address` for Prometheus metrics, such as 127.0.0.1:9542 (default none)")
	flags.StringVar(&opts.redisURLFile, "redis-url-file", "", "`file` that holds the URL of Redis, used when redis_url is not set in kong.yml")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if opts.socket == "" {
		opts.socket = filepath.Join(prefix, name+".socket")
	}
	if err := opts.validate(flags.Args()); err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err) // as the flag package does for its own
		flags.Usage()
		return options{}, err
	}
	return opts, nil
}

// maxSocketPath is what Linux takes for a socket's path, in bytes.
const maxSocketPath = 107

// validate reports everything that is wrong with the options themselves. That
// an address is in use, or a file of a secret not there yet, is found later and
// tried again: neither must end the process.
func (o options) validate(arguments []string) error {
	var faults []error
	if len(arguments) > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q", arguments[0]))
	}
	if len(o.socket) > maxSocketPath {
		faults = append(faults, fmt.Errorf("-socket: the path has %d bytes, a socket's can have %d", len(o.socket), maxSocketPath))
	}
	if o.metrics != "" {
		_, port, err := net.SplitHostPort(o.metrics)
		if _, errPort := strconv.ParseUint(port, 10, 16); err != nil || errPort != nil {
			faults = append(faults, fmt.Errorf("-metrics-listen %q: must be host:port, such as 127.0.0.1:9542", o.metrics))
		}
	}
	if info, err := os.Stat(o.redisURLFile); o.redisURLFile != "" && err == nil && info.IsDir() {
		faults = append(faults, fmt.Errorf("-redis-url-file %s: is a folder; name a file", o.redisURLFile))
	}
	return errors.Join(faults...)
}

// run serves the plugin until ctx ends or no worker can reach it. Kong, if it still
// runs, then starts another process.
func run(ctx context.Context, definition Definition, opts options, stderr io.Writer) error {
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: opts.level})).With(slog.String("plugin", definition.Name))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server, err := New(background, Config{Plugin: definition, Process: Process{
		Log: log, Metrics: registry,
		RedisURL: func() (string, error) { return readURL(opts.redisURLFile) },
	}})
	if err != nil {
		return err
	}
	listener, err := Listen(ctx, opts.socket)
	if err != nil {
		return err
	}
	guard, err := newGuard(opts.socket, server)
	if err != nil {
		return err
	}
	serving, end := context.WithCancel(ctx)
	defer end()
	go func() {
		if why := guard.run(serving); why != "" {
			log.InfoContext(ctx, "plugin server ends", slog.String("why", why))
			end()
		}
	}()
	if opts.metrics != "" {
		go serveMetrics(background, metricsConfig{Address: opts.metrics, Registry: registry, Log: server.log, Retry: 5 * time.Second})
	}
	log.InfoContext(ctx, "plugin server is listening", slog.String("socket", opts.socket), slog.String("version", program.Version()))
	if err := server.Serve(serving, listener); err != nil {
		return err
	}
	log.InfoContext(background, "plugin server has drained")
	return nil
}

// readURL reads the file each time, so that a new secret is used by the next
// instance.
func readURL(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	url, err := program.Secret(file)
	if err != nil {
		return "", fmt.Errorf("read URL of Redis: %w", err)
	}
	return strings.TrimSpace(url), nil
}
