package httpapi

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The states of a service and of what it depends on.
const (
	stateReady    = "ready"
	stateDegraded = "degraded" // serves everything, something that helps is missing
	stateUnready  = "unready"
	stateStopping = "stopping"

	stateUp   = "up"
	stateDown = "down"
)

const (
	// answeredWithin is for how long after its last answer a remote dependency
	// counts as up. A slow one must not take every replica out at once.
	answeredWithin = 10 * time.Second
	probeEvery     = time.Second
)

// Check looks whether a dependency is there.
type Check struct {
	Name     string // "mongodb", "redis", "keys"
	Optional bool   // without it the service still serves
	// Remote dependencies are probed by Run, once a second, and are up for 10 s after
	// each answer. All others are probed with each request.
	Remote bool
	Probe  func(ctx context.Context) error
}

// HealthConfig configures Health. Zero values take the defaults.
type HealthConfig struct {
	Checks []Check
	Every  time.Duration    // between two probes of a remote dependency; zero: 1 s
	Now    func() time.Time // nil: time.Now
}

// Health says whether the service can serve. The zero value is not usable; use
// NewHealth.
type Health struct {
	checks   []Check
	every    time.Duration
	now      func() time.Time
	started  atomic.Bool // every check that is not optional was up at the same time, once
	stopping atomic.Bool

	mu       sync.Mutex
	answered map[string]time.Time // when each remote dependency answered last
}

// NewHealth returns a Health whose remote checks are down until Run has probed
// them.
func NewHealth(c HealthConfig) *Health {
	h := &Health{checks: c.Checks, every: c.Every, now: c.Now, answered: map[string]time.Time{}}
	if h.every == 0 {
		h.every = probeEvery
	}
	if h.now == nil {
		h.now = time.Now
	}
	return h
}

// Run probes the remote dependencies until ctx ends.
func (h *Health) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, check := range h.checks {
		if check.Remote {
			all.Go(func() { h.watch(ctx, check) })
		}
	}
	all.Wait()
}

// watch probes one dependency. Until its first answer it asks more often, so that
// the service is not the later for it.
func (h *Health) watch(ctx context.Context, check Check) {
	wait := h.every / 10
	for {
		probe, cancel := context.WithTimeout(ctx, answeredWithin)
		err := check.Probe(probe)
		cancel()
		if err == nil {
			wait = h.every
			h.mu.Lock()
			h.answered[check.Name] = h.now()
			h.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Stop makes the service unready for good, so that load balancers send nothing
// more while what runs is finished.
func (h *Health) Stop() { h.stopping.Store(true) }

// Stopping reports whether Stop was called.
func (h *Health) Stopping() bool { return h.stopping.Load() }

// serving reports whether the service has started and is not stopping. It has
// started once everything that it needs was there, and stays so without it.
func (h *Health) serving(ctx context.Context) bool {
	if !h.started.Load() {
		h.look(ctx)
	}
	return h.started.Load() && !h.stopping.Load()
}

// report is the body of /readyz.
type report struct {
	Status string            `json:"status" enum:"ready,degraded,unready,stopping" doc:"degraded: everything is served, something that helps is missing."`
	Checks map[string]string `json:"checks" doc:"Each dependency, up or down." example:"{\"mongodb\":\"up\",\"redis\":\"up\",\"keys\":\"up\"}"`
}

// look finds out how each dependency is.
func (h *Health) look(ctx context.Context) report {
	down := make([]bool, len(h.checks))
	for i, check := range h.checks {
		if check.Remote {
			h.mu.Lock()
			at, ok := h.answered[check.Name]
			h.mu.Unlock()
			down[i] = !ok || h.now().Sub(at) > answeredWithin
			continue
		}
		down[i] = check.Probe(ctx) != nil
	}
	return h.sum(down)
}

func (h *Health) sum(down []bool) report {
	r := report{Status: stateReady, Checks: map[string]string{}}
	for i, check := range h.checks {
		r.Checks[check.Name] = stateUp
		if !down[i] {
			continue
		}
		r.Checks[check.Name] = stateDown
		switch {
		case !check.Optional:
			r.Status = stateUnready
		case r.Status == stateReady:
			r.Status = stateDegraded
		}
	}
	if r.Status != stateUnready {
		h.started.Store(true)
	}
	if h.stopping.Load() {
		r.Status = stateStopping
	}
	return r
}

type liveOutput struct {
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Body         struct {
		Status string `json:"status" example:"alive"`
	}
}

type servingOutput struct {
	Status       int
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Body         serving
}

// serving is the body of /servingz.
type serving struct {
	Status string `json:"status" enum:"serving,starting,stopping" example:"serving"`
}

type readyOutput struct {
	Status       int
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Body         report
}

func (a *API) addHealth() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "live", Method: http.MethodGet, Path: "/livez",
		Summary: "Whether the process runs", Tags: []string{"health"},
		Responses: a.answers(nil),
	}, a.live)
	huma.Register(a.huma, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/readyz",
		Summary: "Whether the service can serve, and what is missing",
		Description: "For who decides which replicas get traffic. MongoDB is up when it has answered within the last 10 seconds, however slowly. " +
			"Without Redis the service is degraded but ready: logins count all the same, and the gateways hear of it later. " +
			"Without places, which a damaged or incomplete log cannot give, it is degraded too: logins are told to retry.",
		Tags: []string{"health"}, Responses: a.healthAnswers("Not ready, and what is missing", "Report"),
	}, a.ready)
	huma.Register(a.huma, huma.Operation{
		OperationID: "serving", Method: http.MethodGet, Path: "/servingz",
		Summary: "Whether the service has started and is not stopping",
		Description: "For gateways. A replica that MongoDB is lost to goes on being asked: it says 503 with Retry-After and serves its keys, " +
			"which is more than a gateway without any replica can say.",
		Tags: []string{"health"}, Responses: a.healthAnswers("Starting or stopping", "Serving"),
	}, a.serving)
}

func (a *API) healthAnswers(unwell, schema string) map[string]*huma.Response {
	responses := a.answers(nil)
	responses["503"] = &huma.Response{Description: unwell, Content: map[string]*huma.MediaType{
		jsonMediaType: {Schema: &huma.Schema{Ref: "#/components/schemas/" + schema}},
	}}
	return responses
}

func (a *API) live(context.Context, *struct{}) (*liveOutput, error) {
	out := &liveOutput{CacheControl: noStore, ContentType: jsonMediaType}
	out.Body.Status = "alive"
	return out, nil
}

func (a *API) ready(ctx context.Context, _ *struct{}) (*readyOutput, error) {
	out := &readyOutput{Status: http.StatusOK, CacheControl: noStore, ContentType: jsonMediaType, Body: a.Health.look(ctx)}
	if out.Body.Status == stateUnready || out.Body.Status == stateStopping {
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}

func (a *API) serving(ctx context.Context, _ *struct{}) (*servingOutput, error) {
	out := &servingOutput{Status: http.StatusOK, CacheControl: noStore, ContentType: jsonMediaType, Body: serving{"serving"}}
	switch {
	case a.Health.Stopping():
		out.Status, out.Body.Status = http.StatusServiceUnavailable, stateStopping
	case a.backend.Load() == nil || !a.Health.serving(ctx):
		out.Status, out.Body.Status = http.StatusServiceUnavailable, "starting"
	}
	return out, nil
}
