package pluginserver

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// relayEvery is how often one message is passed on at most: a call to
	// kong.log is a round trip that a request waits for.
	relayEvery = 10 * time.Second
	relayQueue = 16
)

// relay passes warnings and errors on to Kong's own log. Kong logs a plugin's
// standard error at a level that is invisible by default, and takes log calls
// only during an event, so messages wait here for the next one.
type relay struct {
	plugin string // begins each line: Kong names the place in its own code alone
	now    func() time.Time

	waiting atomic.Int32 // len(queue), to look at without the lock
	mu      sync.Mutex
	queue   []relayed
	last    map[string]time.Time // by constant message
}

type relayed struct {
	level slog.Level
	text  string
}

func newRelay(plugin string, now func() time.Time) *relay {
	return &relay{plugin: plugin, now: now, last: map[string]time.Time{}}
}

func (r *relay) add(record slog.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if last, ok := r.last[record.Message]; ok && now.Sub(last) < relayEvery || len(r.queue) >= relayQueue {
		return
	}
	r.last[record.Message] = now
	r.queue = append(r.queue, relayed{record.Level, r.plugin + ": " + relayText(record)})
	r.waiting.Store(int32(len(r.queue))) //nolint:gosec // G115: at most relayQueue.
}

func relayText(record slog.Record) string {
	var text strings.Builder
	text.WriteString(record.Message)
	record.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" { // it stays in the plugin's own log
			fmt.Fprintf(&text, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	return strings.ToValidUTF8(text.String(), "?")
}

// tell passes on what waits. A failed call is lost: the message is in the
// plugin's own log, and the handler will notice for itself.
func (r *relay) tell(e *Event) {
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	queue := r.queue
	r.queue = nil
	r.waiting.Store(0)
	r.mu.Unlock()
	for _, m := range queue {
		if m.level >= slog.LevelError {
			_ = e.log("err", m.text)
		} else {
			_ = e.log("warn", m.text)
		}
	}
}

// relayHandler is a log handler that also gives warnings and errors to a relay.
type relayHandler struct {
	slog.Handler
	relay *relay
}

func (h relayHandler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelWarn {
		h.relay.add(record)
	}
	return h.Handler.Handle(ctx, record)
}

func (h relayHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return relayHandler{Handler: h.Handler.WithAttrs(attrs), relay: h.relay}
}

func (h relayHandler) WithGroup(name string) slog.Handler {
	return relayHandler{Handler: h.Handler.WithGroup(name), relay: h.relay}
}
