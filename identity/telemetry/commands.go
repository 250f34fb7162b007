package telemetry

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// maxCommands bounds what is remembered of commands without an answer.
const maxCommands = 10_000

// Commands returns a monitor for the driver that measures each command to
// MongoDB, and makes a span of it in the trace of the request it belongs to.
// Neither has anything of the command but its name and collection.
func (m *Metrics) Commands(tracer trace.Tracer) *event.CommandMonitor {
	w := &watch{metrics: m, tracer: tracer, running: map[commandID]command{}}
	return &event.CommandMonitor{
		Started:   w.started,
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { w.finished(e.CommandFinishedEvent, nil) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { w.finished(e.CommandFinishedEvent, e.Failure) },
	}
}

type commandID struct {
	connection string
	request    int64
}

type command struct {
	collection string
	span       trace.Span
}

type watch struct {
	metrics *Metrics
	tracer  trace.Tracer
	mu      sync.Mutex
	running map[commandID]command
}

func (w *watch) started(ctx context.Context, e *event.CommandStartedEvent) {
	c := command{}
	c.collection, _ = e.Command.Lookup(e.CommandName).StringValueOK()
	if c.collection == "" {
		c.collection, _ = e.Command.Lookup("collection").StringValueOK() // of getMore
	}
	if trace.SpanContextFromContext(ctx).IsValid() {
		_, c.span = w.tracer.Start(ctx, e.CommandName+" "+c.collection, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(
				attribute.String("db.system.name", "mongodb"),
				attribute.String("db.operation.name", e.CommandName),
				attribute.String("db.collection.name", c.collection),
			))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.running) < maxCommands {
		w.running[commandID{e.ConnectionID, e.RequestID}] = c
	}
}

func (w *watch) finished(e event.CommandFinishedEvent, err error) {
	id := commandID{e.ConnectionID, e.RequestID}
	w.mu.Lock()
	c := w.running[id]
	delete(w.running, id)
	w.mu.Unlock()
	result := "ok"
	if err != nil {
		result = "failed"
	}
	w.metrics.commands.WithLabelValues(e.CommandName, c.collection, result).Observe(e.Duration.Seconds())
	if c.span == nil {
		return
	}
	if err != nil {
		c.span.SetStatus(codes.Error, "") // its text may hold what was stored
	}
	c.span.End(trace.WithTimestamp(time.Now()))
}
