package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// upstream is a set of targets that requests are spread over. A target that
// its health checks find down gets none.
//
// A target is one address here, also when its name stands for several.
type upstream struct {
	name   string
	checks activeEntity
	log    *slog.Logger

	mu      sync.Mutex
	next    int
	targets []*target
}

type target struct {
	address  string
	inFlight int
	down     bool
	// Consecutive results of checks; a success resets the failures and the
	// other way round.
	successes, tcpFailures, timeouts, httpFailures int
}

func newUpstream(entity upstreamEntity, log *slog.Logger) *upstream {
	return &upstream{name: entity.Name, checks: entity.Healthchecks.Active, log: log}
}

func (u *upstream) add(address string) { u.targets = append(u.targets, &target{address: address}) }

// pick chooses the healthy target with the fewest requests in flight, the next in
// turn of several; done is to be called when the request is over.
func (u *upstream) pick() (address string, done func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var chosen *target
	for i := range u.targets {
		t := u.targets[(u.next+i)%len(u.targets)]
		if t.down || chosen != nil && t.inFlight >= chosen.inFlight {
			continue
		}
		chosen = t
	}
	if chosen == nil {
		return "", nil, errNoTarget
	}
	u.next = (slices.Index(u.targets, chosen) + 1) % len(u.targets)
	chosen.inFlight++
	return chosen.address, sync.OnceFunc(func() {
		u.mu.Lock()
		chosen.inFlight--
		u.mu.Unlock()
	}), nil
}

// Run checks the health of the upstreams' targets until ctx ends.
func (g *Gateway) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, u := range g.upstreams {
		for _, t := range u.targets {
			all.Go(func() { u.watch(ctx, t) })
		}
	}
	all.Wait()
	<-ctx.Done()
}

// watch checks one target again and again: at the interval for healthy ones or
// the one for unhealthy ones, of which 0 means never.
func (u *upstream) watch(ctx context.Context, t *target) {
	if u.checks.HTTPPath == "" {
		return
	}
	client := &http.Client{
		Timeout:       seconds(u.checks.Timeout),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	for {
		u.mu.Lock()
		interval := u.checks.Healthy.Interval
		if t.down {
			interval = u.checks.Unhealthy.Interval
		}
		u.mu.Unlock()
		if interval <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(seconds(interval)):
		}
		status, err := check(ctx, client, "http://"+t.address+u.checks.HTTPPath)
		if ctx.Err() == nil {
			u.record(ctx, t, status, err)
		}
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func check(ctx context.Context, client *http.Client, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	return response.StatusCode, nil
}

// record counts the result of a check and takes the target out or in when the
// count is reached; a limit of 0 is never reached.
func (u *upstream) record(ctx context.Context, t *target, status int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var timeout net.Error
	wasDown := t.down
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		t.fail(&t.timeouts, u.checks.Unhealthy.Timeouts)
	case err != nil:
		t.fail(&t.tcpFailures, u.checks.Unhealthy.TCPFailures)
	case slices.Contains(u.checks.Healthy.HTTPStatuses, status):
		t.tcpFailures, t.timeouts, t.httpFailures = 0, 0, 0
		t.successes++
		if t.successes == u.checks.Healthy.Successes {
			t.down = false
		}
	case slices.Contains(u.checks.Unhealthy.HTTPStatuses, status):
		t.fail(&t.httpFailures, u.checks.Unhealthy.HTTPFailures)
	}
	if t.down != wasDown {
		u.log.WarnContext(ctx, "a target changed its health", "upstream", u.name, "target", t.address, "healthy", !t.down)
	}
}

func (t *target) fail(count *int, limit int) {
	t.successes = 0
	*count++
	if *count == limit {
		t.down = true
	}
}
