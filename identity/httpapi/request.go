package httpapi

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"regexp"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// RequestIDHeader carries the id of a request in every answer.
const RequestIDHeader = "X-Request-Id"

// requestIDSources are the headers whose id is taken, the first that is sane:
// the client's or another service's, and what Kong's correlation-id plugin and
// Kong itself call theirs.
var requestIDSources = []string{RequestIDHeader, "Kong-Request-ID", "X-Kong-Request-Id"}

// saneID keeps ids short and free of what a log or a header could be broken
// with. Kong's generator "uuid#counter" has a #.
var saneID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:#-]{0,127}$`)

// origin is where a request came from, as far as it is known.
type origin struct {
	requestID string
	address   string
}

type originKey struct{}

func originOf(ctx context.Context) origin {
	o, _ := ctx.Value(originKey{}).(origin)
	return o
}

// RequestID returns the id of the request that ctx belongs to, or "".
func RequestID(ctx context.Context) string { return originOf(ctx).requestID }

// clientAddress returns the address of the client, or "" when it is unknown.
func clientAddress(ctx context.Context) string { return originOf(ctx).address }

// identify gives a request its id and the address it came from.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.warnOfStranger(r)
		o := origin{requestID: requestID(r.Header), address: clientOf(r, a.TrustedProxies)}
		w.Header().Set(RequestIDHeader, o.requestID)
		ctx := context.WithValue(traced(r), originKey{}, o)
		next.ServeHTTP(w, r.WithContext(ctx)) //nolint:contextcheck // traced gives the request's own context
	})
}

// traced returns the request's context in the trace that its traceparent names,
// so that the logs can be found by it also where no trace is made.
func traced(r *http.Request) context.Context {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		return r.Context()
	}
	return propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
}

func requestID(h http.Header) string {
	for _, name := range requestIDSources {
		if id := h.Get(name); saneID.MatchString(id) {
			return id
		}
	}
	return rand.Text()
}

// LogHandler returns a handler that adds the ids of the request and of its
// trace to every record that is logged with a request's context.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, record slog.Record) error {
	if id := RequestID(ctx); id != "" {
		record.AddAttrs(slog.String("request_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}
