// Package doctor checks that the parts of an installation can be reached and work,
// and says what to do about each fault.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

// Check is one look at one part.
type Check struct {
	Name   string // mongodb, redis, identity, jwks, gateway, ...
	Target string // its address, without a password
	Hint   string // what to do when it fails
	Look   func(ctx context.Context) (detail string, err error)
	Then   []Check // looked at only if this one does not fail, with its Target
}

// Result is what a check found.
type Result struct {
	Check  string
	Target string
	OK     bool   // false when something fails; true, with a Hint, for a warning
	Detail string // what was seen, or what is wrong
	Hint   string // what to do; empty when all is well
}

// Level says in a word how a check went: ok, warning or failed.
func (r Result) Level() string {
	switch {
	case !r.OK:
		return "failed"
	case r.Hint != "":
		return "warning"
	default:
		return "ok"
	}
}

// Timeout bounds each check.
const Timeout = 5 * time.Second

// Examine runs all checks at once and returns their results in order.
func Examine(ctx context.Context, checks []Check) []Result {
	results := make([][]Result, len(checks))
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() {
			results[i] = []Result{c.run(ctx)}
			if !results[i][0].OK {
				return
			}
			for j := range c.Then {
				c.Then[j].Target = c.Target
			}
			results[i] = append(results[i], Examine(ctx, c.Then)...)
		})
	}
	running.Wait()
	return slices.Concat(results...)
}

func (c Check) run(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	detail, err := c.Look(ctx)
	r := Result{Check: c.Name, Target: c.Target, OK: err == nil, Detail: detail}
	if err == nil {
		return r
	}
	r.Detail, r.Hint = err.Error(), c.Hint
	var advised *Advised
	var warning *Warning
	switch {
	case errors.As(err, &advised):
		r.Hint = advised.Advice
	case errors.As(err, &warning):
		r.OK, r.Hint = true, warning.Advice
	}
	return r
}

// Advised is a fault that knows better what to do than the check's own hint.
type Advised struct {
	Problem string
	Advice  string
}

func (e *Advised) Error() string { return e.Problem }

// Warning is what works here and should be another way where it matters. It
// fails no check.
type Warning struct {
	Problem string
	Advice  string
}

func (e *Warning) Error() string { return e.Problem }

const jwksPath = "/.well-known/jwks.json"

// maxBody is as much of an answer, in bytes, as is read.
const maxBody = 64 << 10

// Web looks at the parts that speak HTTP.
type Web struct {
	Client      *http.Client
	IdentityURL string
	GatewayURL  string
}

// Checks are the checks of identity, its keys and the gateway.
func (w Web) Checks() []Check {
	start := `start it ("make run" starts everything on one machine), or name another address with `
	return []Check{
		{Name: "identity", Target: w.IdentityURL, Hint: start + "--identity-url or EARLYBIRD_IDENTITY_URL", Look: w.identity},
		{Name: "jwks", Target: w.IdentityURL + jwksPath, Hint: "without keys no token can be verified: look at the identity service's log", Look: w.jwks},
		{Name: "gateway", Target: w.GatewayURL, Hint: start + "--gateway-url or EARLYBIRD_GATEWAY_URL", Look: w.gateway},
	}
}

// answer is an HTTP answer that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (w Web) get(ctx context.Context, address string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil { // it quotes the URL as well
		return answer{}, errors.New("this is not an address that can be asked")
	}
	resp, err := w.Client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) { // it quotes the URL, which may hold a secret; the check's target names it
		err = wrapped.Err
	}
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return answer{resp.StatusCode, resp.Header, body}, err
}

func (w Web) identity(ctx context.Context) (string, error) {
	got, err := w.get(ctx, w.IdentityURL+"/readyz")
	if err != nil {
		return "", err
	}
	said := strings.TrimSpace(string(got.body))
	switch got.status {
	case http.StatusOK:
		return "ready: " + said, nil
	case http.StatusServiceUnavailable:
		return "", &Advised{"not ready: " + said, "what is missing is named; once it answers, identity is ready by itself"}
	default:
		return "", &Advised{fmt.Sprintf("/readyz answered %d", got.status), "is this the identity service itself, not the gateway? --identity-url names another"}
	}
}

func (w Web) jwks(ctx context.Context) (string, error) {
	_, err := w.keys(ctx, w.IdentityURL)
	if err != nil {
		return "", err
	}
	return "keys are published", nil
}

// keys fetches the key set from one of the two.
func (w Web) keys(ctx context.Context, base string) (string, error) {
	got, err := w.get(ctx, base+jwksPath)
	if err != nil {
		return "", err
	}
	if got.status != http.StatusOK {
		return "", fmt.Errorf("%s answered %d", jwksPath, got.status)
	}
	set, err := token.ParseKeySet(got.body)
	if err != nil {
		return "", fmt.Errorf("%s: %w", jwksPath, err)
	}
	return string(set.JSON()), nil
}

// gateway looks whether the gateway brings requests to this identity service,
// and whether earlybird-auth guards what it should.
func (w Web) gateway(ctx context.Context) (string, error) {
	through, err := w.keys(ctx, w.GatewayURL)
	if err != nil {
		return "", err
	}
	direct, err := w.keys(ctx, w.IdentityURL)
	if err == nil && direct != through {
		return "", &Advised{"the gateway leads to another identity service", "compare kong.yml's target with --identity-url; \"earlybird kong render\" writes one that fits"}
	}
	got, err := w.get(ctx, w.GatewayURL+"/promotion")
	if err != nil {
		return "", err
	}
	switch {
	case got.status == http.StatusUnauthorized && got.header.Get("WWW-Authenticate") != "":
		return "routes are there, and a request without a token is refused", nil
	case got.status == http.StatusServiceUnavailable:
		return "", &Advised{"earlybird-auth is not ready (503)", "it needs the keys and Redis: look at jwks_url and redis_url in kong.yml, and at the gateway's log"}
	default:
		return "", &Advised{
			fmt.Sprintf("GET /promotion without a token answered %d, not 401", got.status),
			"is earlybird-auth on the route \"protected\"? \"earlybird kong validate\" checks kong.yml",
		}
	}
}
