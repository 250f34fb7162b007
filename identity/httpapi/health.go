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

// probeTimeout bounds one look at a dependency.
const probeTimeout = time.Second

// Check looks whether a dependency answers.
type Check struct {
	Name     string // "mongodb", "redis", "keys"
	Optional bool   // without it the service still serves
	Probe    func(ctx context.Context) error
}

// HealthConfig configures Health.
type HealthConfig struct {
	Checks []Check
}

// Health says whether the service can serve. The zero value is not usable; use
// NewHealth.
type Health struct {
	checks   []Check
	stopping atomic.Bool
}

// NewHealth returns a Health that looks at each check when it is asked.
func NewHealth(c HealthConfig) *Health { return &Health{checks: c.Checks} }

// Stop makes the service unready for good, so that whoever balances load sends
// nothing more while what runs is finished.
func (h *Health) Stop() { h.stopping.Store(true) }

// Stopping reports whether Stop was called.
func (h *Health) Stopping() bool { return h.stopping.Load() }

// report is the body of /readyz.
type report struct {
	Status string            `json:"status" enum:"ready,degraded,unready,stopping" doc:"degraded: everything is served, something that helps is missing."`
	Checks map[string]string `json:"checks" doc:"Each dependency, up or down." example:"{\"mongodb\":\"up\",\"redis\":\"up\",\"keys\":\"up\"}"`
}

// look probes every dependency at the same time.
func (h *Health) look(ctx context.Context) report {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	down := make([]bool, len(h.checks))
	var probes sync.WaitGroup
	for i, check := range h.checks {
		probes.Go(func() { down[i] = check.Probe(ctx) != nil })
	}
	probes.Wait()
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
	responses := a.answers(nil)
	responses["503"] = &huma.Response{
		Description: "Not ready, and what is missing",
		Content: map[string]*huma.MediaType{jsonMediaType: {
			Schema: &huma.Schema{Ref: "#/components/schemas/Report"},
		}},
	}
	huma.Register(a.huma, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/readyz",
		Summary:     "Whether the service can serve, and what is missing",
		Description: "Without Redis the service is degraded but ready: logins are counted later.",
		Tags:        []string{"health"}, Responses: responses,
	}, a.ready)
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
