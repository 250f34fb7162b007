package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/httpapi"
	"github.com/earlybird/earlybird/identity/program"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/telemetry"
)

// Time limits of the server. The idle one is longer than the 60 s for which
// Kong keeps a connection to an upstream, so that Kong is the one who closes.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 90 * time.Second

	profileTimeout = 5 * time.Minute // a profile takes as long as is asked for
	flushTimeout   = 3 * time.Second
)

// run serves until ctx ends, then finishes what is in flight. It listens at
// once and connects meanwhile, so that the order in which things start does
// not matter: /livez answers, /readyz says what is missing. listening, if not
// nil, is called with the address.
func run(ctx context.Context, c config, logs io.Writer, listening func(net.Addr)) error {
	log := slog.New(httpapi.LogHandler(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: c.LogLevel})))
	tracing, err := telemetry.NewTracing(ctx, telemetry.TracingConfig{Endpoint: c.OTLPEndpoint, Version: program.Version(), Log: log})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	b, err := newBackend(c, log, registry, tracing)
	if err != nil {
		return err
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(revocation.Metrics(func() []revocation.Stats { return []revocation.Stats{b.revoked.Stats()} })...)
	health := httpapi.NewHealth(httpapi.HealthConfig{Checks: b.checks()})
	api, err := httpapi.New(httpapi.Config{
		Health: health, TrustedProxies: c.TrustedProxies, Codes: c.Codes, Version: program.Version(), Metrics: registry, Log: log,
	})
	if err != nil {
		return fmt.Errorf("http api: %w", err)
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", program.Version())
	if listening != nil {
		listening(listener.Addr())
	}
	group, running := errgroup.WithContext(ctx)
	// What requests rest on, above all to hear of tokens that end, goes on until
	// the last one is answered.
	serving, served := context.WithCancel(context.WithoutCancel(ctx))
	defer served()
	serve(running, group, c, newServer(tracing.Handler(closing(health, api)), log), listener, health, served)
	serveMetrics(running, group, c.MetricsListen, registry, log)
	group.Go(func() error { return b.run(serving, api) })
	group.Go(func() error {
		health.Run(serving)
		return nil
	})
	err = errors.Join(group.Wait(), b.close(context.WithoutCancel(ctx)))
	stopTracing(context.WithoutCancel(ctx), tracing, log)
	log.InfoContext(ctx, "stopped")
	return err
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    2 * httpapi.MaxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// serve serves until ctx ends. Then the service is unready for the delay, in
// so that load balancers notice, and has the grace period to finish; served is
// called after that.
func serve(ctx context.Context, group *errgroup.Group, c config, server *http.Server, l net.Listener, health *httpapi.Health, served func()) {
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		defer served()
		<-ctx.Done()
		health.Stop()
		time.Sleep(c.ShutdownDelay)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownGrace)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return errors.Join(fmt.Errorf("requests were cut off after %s: %w", c.ShutdownGrace, err), server.Close())
		}
		return nil
	})
}

// closing asks clients to close their connections while the service is stopping
// but still serves: a request on a connection that the server closes in that
// moment would be lost.
func closing(health *httpapi.Health, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if health.Stopping() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// stopTracing sends the last traces. What cannot be sent is no failure of the
// service.
func stopTracing(ctx context.Context, tracing *telemetry.Tracing, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := tracing.Stop(ctx); err != nil {
		log.WarnContext(ctx, "traces were lost", "err", err)
	}
}

// serveMetrics serves metrics and profiles on an address of its own. A failure
// there is logged and stops nothing.
func serveMetrics(ctx context.Context, group *errgroup.Group, address string, registry *prometheus.Registry, log *slog.Logger) {
	if address == "" {
		return
	}
	server := newServer(telemetry.Operations(registry), log)
	server.Addr = address
	server.WriteTimeout = profileTimeout
	group.Go(func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.ErrorContext(ctx, "metrics are not served", "err", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
}
