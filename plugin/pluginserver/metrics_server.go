package pluginserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metricsConfig struct {
	Address  string
	Registry *prometheus.Registry
	Log      *slog.Logger
	Retry    time.Duration // between attempts to listen
}

// serveMetrics serves /metrics until ctx ends. An address in use is tried
// again and never ends the process: an orphan of an earlier Kong worker may
// hold it.
func serveMetrics(ctx context.Context, c metricsConfig) {
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Address)
		if err == nil {
			err = serveRegistry(ctx, c.Registry, listener)
		}
		if ctx.Err() != nil {
			return
		}
		c.Log.WarnContext(ctx, "metrics cannot be served, trying again", slog.String("address", c.Address), slog.Any("err", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.Retry):
		}
	}
}

func serveRegistry(ctx context.Context, registry *prometheus.Registry, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // Serve reports it
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
