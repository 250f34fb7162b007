package pluginserver

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/plugin/schema"
)

// Definition is what a plugin is before it runs: what the dump shows, and how
// to begin.
type Definition struct {
	Name     string
	Version  string
	Priority int    // Kong runs plugins of a higher priority first
	Phase    string // the one phase it handles: "access" or "response"
	Schema   schema.Schema
	Fallback Fallback
	// New prepares the plugin in this process and returns what starts its
	// instances. The context ends with the process.
	New func(ctx context.Context, p Process) (StartFunc, error)
}

// StartFunc starts the instance of one plugin configuration in kong.yml. config
// is the JSON that Kong sends. An error ends in a 500 for every request of that
// configuration, also in the response phase.
type StartFunc func(ctx context.Context, config []byte) (Instance, error)

// Instance is one plugin configuration at work.
type Instance interface {
	// Handle decides one request. The context ends when the handler's time is
	// up or the process stops; a handler that then still runs is overruled by
	// the plugin's Fallback.
	Handle(ctx context.Context, e *Event) Verdict
	// Close releases what the instance holds. It is called once, when Kong has
	// closed the instance and the last handler has returned.
	Close()
}

// Verdict is what a handler decided.
type Verdict int

// The verdicts. The zero value is no decision, so that a handler which ends in
// any other way than by deciding lets nothing through.
const (
	Undecided Verdict = iota // Kong gets the plugin's Fallback
	Continue                 // Kong goes on with the request
	Exited                   // the client has been answered; only Event.Exit returns it
)

// Process is what the process offers to its plugin.
type Process struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// RedisURL reads the file of -redis-url-file; "" when there is none.
	RedisURL func() (string, error)
}

// Event is one request at the plugin's phase. Every call of its methods is a round
// trip to Kong.
type Event struct{ wire *wire }

// Exit answers the client and ends the request. Kong does not acknowledge it
// and expects no more of this connection, so the handler must return the verdict
// at once.
func (e *Event) Exit(r Response) Verdict {
	if r.frames == nil || e.wire.end(r.frames) != nil {
		return Undecided
	}
	return Exited
}
