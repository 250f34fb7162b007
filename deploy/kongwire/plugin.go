package kongwire

import (
	"context"
	"errors"
	"log/slog"
	"sync"
)

// Config is what a Plugin is made of.
type Config struct {
	Name   string // as in the dump
	Socket string // the dump's SocketPath
	Log    *slog.Logger
}

// Plugin runs events of one plugin and keeps its instances, as one of Kong's
// workers does. It is safe for concurrent use.
type Plugin struct {
	name   string
	client *Client
	log    *slog.Logger

	mu        sync.Mutex
	instances map[string]*instance // by plugin id
}

// instance is the instance that is started, or being started, for a plugin id.
type instance struct {
	sequence int64
	ready    chan struct{} // closed when id and err are there
	id       int32
	err      error
}

// NewPlugin returns a plugin that connects when first used.
func NewPlugin(c Config) *Plugin {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Plugin{name: c.Name, client: NewClient(c.Socket), log: c.Log, instances: map[string]*instance{}}
}

// Close closes the idle connections.
func (p *Plugin) Close() { p.client.Close() }

// Event is one event of a request.
type Event struct {
	PluginID string // which plugin entry of kong.yml
	Sequence int64  // Config's __seq__; another number is another configuration
	Config   []byte // as JSON, with __seq__, __plugin_id and the rest of what Kong sends
	Phase    string
	PDK      PDK
}

// Handle runs one event and starts its instance when needed. Like Kong, it
// runs the event again, with a new instance, as long as the plugin closes the
// connection in its midst; only ctx ends that. Any other error is a 500.
func (p *Plugin) Handle(ctx context.Context, e Event) (Result, error) {
	for {
		in, err := p.instance(ctx, e)
		if err != nil {
			return Result{}, err
		}
		result, err := p.client.HandleEvent(ctx, in.id, e.Phase, e.PDK)
		if !errors.Is(err, ErrClosed) {
			return result, err
		}
		p.log.WarnContext(ctx, "plugin closed the connection, running the event again",
			slog.String("plugin", p.name), slog.Any("err", err))
		p.reset()
	}
}

// reset forgets all instances: Kong takes a closed connection for a plugin
// server that has been restarted.
func (p *Plugin) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.instances)
}

// instance finds the instance for an event, or starts it; one caller starts,
// the others wait.
func (p *Plugin) instance(ctx context.Context, e Event) (*instance, error) {
	p.mu.Lock()
	old := p.instances[e.PluginID]
	if old != nil && old.sequence == e.Sequence {
		p.mu.Unlock()
		select {
		case <-old.ready:
			return old, old.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	in := &instance{sequence: e.Sequence, ready: make(chan struct{})}
	p.instances[e.PluginID] = in
	p.mu.Unlock()

	in.id, in.err = p.client.StartInstance(ctx, p.name, e.Config)
	if in.err != nil {
		p.forget(e.PluginID, in)
	}
	close(in.ready)
	if in.err == nil && old != nil {
		p.closeOld(ctx, old, in)
	}
	return in, in.err
}

// closeOld closes the instance of the configuration before. That it fails does
// not matter: the plugin may know it no more.
func (p *Plugin) closeOld(ctx context.Context, old, now *instance) {
	<-old.ready
	if old.err == nil && old.id != now.id {
		if err := p.client.CloseInstance(ctx, old.id); err != nil {
			p.log.WarnContext(ctx, "old instance was not closed", slog.Any("err", err))
		}
	}
}

func (p *Plugin) forget(pluginID string, in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instances[pluginID] == in {
		delete(p.instances, pluginID)
	}
}
