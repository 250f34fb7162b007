package pluginserver

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// RetryConfig is what NewRetry makes an instance of; every field but Every and
// Now is required.
type RetryConfig struct {
	// Start tries to start the instance that is wanted.
	Start StartFunc
	// Config is what Start is given.
	Config []byte
	// Otherwise handles events until Start has succeeded.
	Otherwise Instance
	Every     time.Duration // between attempts; 5 s
	Now       func() time.Time
	Log       *slog.Logger
}

// NewRetry returns an instance for a configuration that cannot work yet, for
// want of a file that may still appear. Kong would not start it again until the
// configuration changes, so each event looks whether it is time for another try.
func NewRetry(c RetryConfig) Instance {
	if c.Every <= 0 {
		c.Every = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &retry{config: c, next: c.Now().Add(c.Every)}
}

type retry struct {
	config RetryConfig

	mu     sync.Mutex
	next   time.Time // when to try again
	wanted Instance  // nil until it has started
}

// Handle gives the event to the instance that is wanted, once there is one.
func (r *retry) Handle(ctx context.Context, e *Event) Verdict {
	return r.current(ctx).Handle(ctx, e)
}

// current tries when it is time; other events do not wait for that.
func (r *retry) current(ctx context.Context) Instance {
	r.mu.Lock()
	wanted, due := r.wanted, !r.config.Now().Before(r.next)
	if wanted == nil && due {
		r.next = r.config.Now().Add(r.config.Every)
	}
	r.mu.Unlock()
	switch {
	case wanted != nil:
		return wanted
	case !due:
		return r.config.Otherwise
	}
	wanted, err := r.config.Start(ctx, r.config.Config)
	if err != nil {
		return r.config.Otherwise // it was said when the first try failed
	}
	r.config.Log.InfoContext(ctx, "configuration works now")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted != nil { // a slow try was overtaken
		wanted.Close()
		return r.wanted
	}
	r.wanted = wanted
	return wanted
}

// Close closes whichever instances there are.
func (r *retry) Close() {
	r.config.Otherwise.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted != nil {
		r.wanted.Close()
	}
}
