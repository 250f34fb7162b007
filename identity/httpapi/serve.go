package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// The limits on the head of a request, in bytes. MaxHeader lies above what
// Kong lets through (32 KiB in 8 KiB lines); a server is given twice as much,
// so that what is a little over is answered with a problem.
const (
	MaxURI    = 8 << 10
	MaxHeader = 32 << 10
)

// observe logs each request once, with neither body nor query nor token, turns
// a panic into a 500, and adds the headers that every answer has.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, ctx := time.Now(), r.Context()
		seen := &recorder{ResponseWriter: w}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		defer func() {
			a.recovered(ctx, seen, recover())
			a.count(ctx, r, seen.status, time.Since(start))
			a.Log.Log(ctx, accessLevel(r.Pattern, seen.status), "request",
				"method", method(r.Method), "route", r.Pattern, "status", seen.status,
				"duration_ms", float64(time.Since(start).Microseconds())/1000)
		}()
		next.ServeHTTP(seen, r)
	})
}

// count measures a request, and gives its span the name of the route.
func (a *API) count(ctx context.Context, r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = method(r.Method) + " none"
	}
	a.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
	span := trace.SpanFromContext(ctx)
	span.SetName(route)
	span.SetAttributes(attribute.String("http.route", r.Pattern), attribute.String("request_id", RequestID(ctx)))
}

// accessLevel keeps the probes that find everything well, several a second,
// out of the log.
func accessLevel(pattern string, status int) slog.Level {
	if status == http.StatusOK && (pattern == "GET /livez" || pattern == "GET /readyz" || pattern == "GET /servingz") {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// recovered answers for a handler that panicked. The value of a panic may hold
// what was sent, so only errors of the runtime are logged with their text.
func (a *API) recovered(ctx context.Context, w *recorder, value any) {
	if value == nil {
		return
	}
	what := fmt.Sprintf("%T", value)
	var fault runtime.Error
	if err, ok := value.(error); ok && errors.As(err, &fault) {
		what = fault.Error()
	}
	a.Log.ErrorContext(ctx, "handler panicked", "panic", what, "stack", string(debug.Stack()))
	if w.status == 0 {
		problemOf(errPanic).write(w)
	}
}

var errPanic = errors.New("handler panicked")

// method keeps made-up methods, which may be anything, out of the log.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return name
	}
	return "other"
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController through.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// limitHead refuses a request whose head is larger than any client needs.
func limitHead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case len(r.RequestURI) > MaxURI:
			problem(http.StatusRequestURITooLong, fmt.Sprintf("The URI may have at most %d bytes.", MaxURI)).write(w)
		case headerSize(r.Header) > MaxHeader:
			problem(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("The header may have at most %d bytes.", MaxHeader)).write(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// headerSize is the size of a header as it was sent, ": " and line ends included.
func headerSize(h http.Header) int {
	size := 0
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

// route answers for mux where it would answer in plain text: an unknown path,
// a method that a path does not have, and OPTIONS. A path that is not clean is
// unknown; mux would redirect it.
func route(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isClean(r.URL.Path) {
			notFound().write(w)
			return
		}
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		var refusal capture
		handler.ServeHTTP(&refusal, r)
		allow := refusal.Header().Get("Allow")
		switch {
		case allow == "":
			notFound().write(w)
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow+", OPTIONS")
			w.WriteHeader(http.StatusNoContent)
		default:
			problem(http.StatusMethodNotAllowed, "Allowed here: "+allow+", OPTIONS.").
				with("Allow", allow+", OPTIONS").write(w)
		}
	})
}

func isClean(p string) bool {
	return strings.HasPrefix(p, "/") && (path.Clean(p) == p || path.Clean(p)+"/" == p)
}

// capture keeps an answer that is not sent.
type capture struct {
	header http.Header
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (c *capture) Header() http.Header {
	if c.header == nil {
		c.header = http.Header{}
	}
	return c.header
}

// WriteHeader implements http.ResponseWriter.
func (c *capture) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (c *capture) Write(data []byte) (int, error) {
	return c.body.Write(data)
}
