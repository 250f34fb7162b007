package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// ServiceName is what traces call this service, unless OTEL_SERVICE_NAME does.
const ServiceName = "earlybird-identity"

// TracingConfig says where traces go.
type TracingConfig struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP, such
	// as http://127.0.0.1:4318; spans go to its path v1/traces. Empty: what the
	// standard's variables say (OTEL_EXPORTER_OTLP_ENDPOINT and its like), and
	// without them no trace is made.
	Endpoint string
	Version  string // of the program
	Log      *slog.Logger
}

// Tracing makes the spans of requests and sends them away in the background. A
// collector that does not answer costs spans, never a request.
type Tracing struct {
	provider trace.TracerProvider
	stop     func(ctx context.Context) error
	on       bool
}

// NewTracing connects to nothing yet.
func NewTracing(ctx context.Context, c TracingConfig) (*Tracing, error) {
	if c.Endpoint == "" && os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return &Tracing{provider: noop.NewTracerProvider(), stop: func(context.Context) error { return nil }}, nil
	}
	var to []otlptracehttp.Option
	if c.Endpoint != "" {
		at, err := url.JoinPath(c.Endpoint, "v1", "traces")
		if err != nil {
			return nil, fmt.Errorf("otlp endpoint: %w", err)
		}
		to = append(to, otlptracehttp.WithEndpointURL(at))
	}
	exporter, err := otlptracehttp.New(ctx, to...)
	if err != nil {
		return nil, fmt.Errorf("otlp exporter: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", ServiceName), attribute.String("service.version", c.Version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("otlp resource: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		c.Log.Warn("traces are not sent", "err", err) //nolint:sloglint // the library gives no context
	}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	return &Tracing{provider: provider, stop: provider.Shutdown, on: true}, nil
}

// Tracer makes the spans of this service.
func (t *Tracing) Tracer() trace.Tracer { return t.provider.Tracer("github.com/earlybird/earlybird") }

// Handler makes a span of each request but the probes', which continues the
// trace that a traceparent header names (W3C Trace Context), as Kong's
// opentelemetry plugin sends it.
func (t *Tracing) Handler(next http.Handler) http.Handler {
	if !t.on {
		return next
	}
	return otelhttp.NewHandler(next, "request",
		otelhttp.WithTracerProvider(t.provider),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithFilter(func(r *http.Request) bool {
			return !slices.Contains([]string{"/livez", "/readyz", "/servingz"}, r.URL.Path)
		}),
	)
}

// Stop sends what is left, until ctx ends.
func (t *Tracing) Stop(ctx context.Context) error {
	if err := t.stop(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}
