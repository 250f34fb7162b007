package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
	"github.com/earlybird/earlybird/plugin/pluginserver"
	"github.com/earlybird/earlybird/plugin/settings"
)

const (
	version  = "1.0.0"
	priority = 1450 // that of Kong's own jwt plugin: before all of its limits
)

// startWait is how long an instance waits for its keys, the revocations and its
// first read of the campaign, so that it does not refuse the first requests.
const startWait = 2 * time.Second

// readTimeout bounds the one read of Redis that a request may wait for.
const readTimeout = 250 * time.Millisecond

func define() pluginserver.Definition {
	return pluginserver.Definition{
		Name: settings.AuthName, Version: version, Priority: priority, Phase: "access",
		Schema:   settings.AuthSchema(),
		Fallback: pluginserver.ExitFallback(response(edge.Failed)),
		New:      newPlugin,
	}
}

func response(p *edge.Problem) pluginserver.Response {
	return pluginserver.NewResponse(p.Status, p.Header, p.Body)
}

// plugin is what the instances of this process share. Each pool is keyed by the
// settings that its values depend on, so a route that differs only in its demand
// adds nothing.
type plugin struct {
	process   pluginserver.Process
	keys      *edge.Pool[string, *token.JWKS] // by the URL of the key set
	servers   *edge.Pool[string, *server]     // by the URL of Redis
	followed  *edge.Pool[followed, *grants]
	checks    *edge.Pool[shared, *check]
	metrics   *metrics
	responses map[*edge.Problem]pluginserver.Response
}

// server is one Redis, with the feed of its revocations. It outlives the
// configuration that opened it, so a configuration that arrives while Redis is down
// still knows the revoked tokens.
type server struct {
	redis   redis.UniversalClient
	revoked *revocation.Feed
}

// followed is the part of a configuration that following the campaign depends on.
type followed struct {
	redisURL   string
	beatMaxAge time.Duration
}

// check is a checker and what it waits for.
type check struct {
	*checker
	keys    *token.JWKS
	revoked *revocation.Feed
}

// shared is the part of a configuration that a check depends on.
type shared struct {
	followed
	issuer, jwksURL string
	leeway          time.Duration
	cacheSize       int
}

func newPlugin(ctx context.Context, process pluginserver.Process) (pluginserver.StartFunc, error) {
	p := &plugin{
		process: process, keys: edge.NewKeys(ctx, process.Log),
		metrics: newMetrics(process.Metrics), responses: map[*edge.Problem]pluginserver.Response{},
	}
	p.servers = edge.NewPool(ctx, p.connect)
	p.followed = edge.NewPool(ctx, p.follow)
	p.checks = edge.NewPool(ctx, p.open)
	for _, problem := range edge.Problems() {
		p.responses[problem] = response(problem)
	}
	process.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "earlybird_auth_tokens", Help: "Verified tokens in the cache.",
	}, p.remembered))
	process.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "earlybird_auth_users", Help: "Users of cached tokens, whose grants are followed.",
	}, p.watched))
	process.Metrics.MustRegister(newViewGauges(p.views))
	process.Metrics.MustRegister(revocation.Metrics(p.revocations)...)
	return p.start, nil
}

func (p *plugin) revocations() []revocation.Stats {
	var all []revocation.Stats
	for _, s := range p.servers.Values() {
		all = append(all, s.revoked.Stats())
	}
	return all
}

func (p *plugin) remembered() float64 {
	n := 0
	for _, c := range p.checks.Values() {
		n += c.tokens.Len()
	}
	return float64(n)
}

func (p *plugin) watched() float64 {
	n := 0
	for _, f := range p.followed.Values() {
		n += f.View.Watched()
	}
	return float64(n)
}

func (p *plugin) views() []mirror.ViewState {
	var all []mirror.ViewState
	for _, f := range p.followed.Values() {
		all = append(all, f.View.State())
	}
	return all
}

// start starts an instance. If the configuration cannot work, the instance refuses
// every request with 503, and start logs the reason.
func (p *plugin) start(ctx context.Context, config []byte) (pluginserver.Instance, error) {
	i, err := p.build(ctx, config)
	if err != nil {
		p.process.Log.ErrorContext(ctx, "configuration cannot work, every request is refused", slog.Any("err", err))
		return pluginserver.NewRetry(pluginserver.RetryConfig{
			Start: p.build, Config: config, Otherwise: refusing{p}, Log: p.process.Log,
		}), nil
	}
	return i, nil
}

func (p *plugin) build(ctx context.Context, config []byte) (pluginserver.Instance, error) {
	s, err := settings.ParseAuth(config, p.process.RedisURL)
	if err != nil {
		return nil, err
	}
	c, release, err := p.checks.Acquire(shared{
		followed: followed{redisURL: s.RedisURL, beatMaxAge: s.BeatMaxAgeDuration()},
		issuer:   s.Issuer, jwksURL: s.JWKSURL, leeway: s.LeewayDuration(), cacheSize: s.CacheSize,
	})
	if err != nil {
		return nil, err
	}
	c.wait(ctx)
	return &instance{plugin: p, check: c, release: release, demand: demand{
		Demand:   token.Demand{Audience: s.Audience, AlsoAudience: s.AlsoAudience},
		failOpen: s.Revocation == settings.RevocationOptional,
	}}, nil
}

// connect follows the revocations in one Redis until ctx ends.
func (p *plugin) connect(ctx context.Context, url string) (*server, error) {
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		return nil, err
	}
	s := &server{redis: client, revoked: revocation.NewFeed(revocation.FeedConfig{Redis: client, Log: p.process.Log})}
	go func() {
		_ = s.revoked.Run(ctx) // it ends with ctx and returns nil
		_ = client.Close()
	}()
	return s, nil
}

// follow follows the campaign's log in one Redis until ctx ends.
func (p *plugin) follow(ctx context.Context, f followed) (*grants, error) {
	s, release, err := p.servers.Acquire(f.redisURL)
	if err != nil {
		return nil, err
	}
	copies := mirror.New(mirror.Config{Redis: s.redis, Timeout: readTimeout})
	view := mirror.NewView(mirror.ViewConfig{Fresh: f.beatMaxAge})
	tail := mirror.NewTail(mirror.TailConfig{Redis: s.redis, View: view, Log: p.process.Log})
	go func() {
		_ = tail.Run(ctx) // it ends with ctx and returns nil
		release()
	}()
	return &grants{View: view, Standings: copies, Log: p.process.Log, Metrics: p.metrics}, nil
}

// open builds the check of a configuration. It holds the shared keys and feeds
// until ctx ends.
func (p *plugin) open(ctx context.Context, s shared) (*check, error) {
	keys, releaseKeys, err := p.keys.Acquire(s.jwksURL)
	if err != nil {
		return nil, fmt.Errorf("jwks_url: %w", err)
	}
	context.AfterFunc(ctx, releaseKeys)
	server, releaseServer, err := p.servers.Acquire(s.redisURL)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, releaseServer)
	grants, releaseGrants, err := p.followed.Acquire(s.followed)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, releaseGrants)
	verifier, err := token.NewVerifier(token.VerifierConfig{Issuer: s.issuer, Leeway: s.leeway, Keys: keys, Now: time.Now})
	if err != nil {
		return nil, err
	}
	c, err := newChecker(checkerConfig{
		Verifier: verifier, CacheSize: s.cacheSize, Grants: grants, Revocations: server.revoked,
		Log: p.process.Log, Metrics: p.metrics,
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, c.tokens.Purge) // releases its users: other configurations may share the View
	return &check{checker: c, keys: keys, revoked: server.revoked}, nil
}

// wait returns when keys, revocations and a fresh view of the campaign are
// available, or after startWait.
func (c *check) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	_ = c.keys.WaitReady(ctx) // without keys requests are refused with 503
	for !c.Grants.View.Fresh() || !c.revoked.Ready() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// instance is one working configuration of the plugin.
type instance struct {
	*plugin
	*check
	demand  demand
	release func()
}

// Handle makes two calls to Kong for a request that passes. If either fails, the
// request does not pass: a header that cannot be read counts as a malformed token
// (401), and one that cannot be set leaves the request undecided (500).
func (i *instance) Handle(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
	authorization, err := e.RequestHeader("authorization")
	if err != nil {
		return e.Exit(i.responses[i.unreadable()])
	}
	header, problem, err := i.decide(ctx, authorization, i.demand)
	switch {
	case err != nil:
		return pluginserver.Undecided
	case problem != nil:
		return e.Exit(i.responses[problem])
	}
	if err := e.SetServiceHeader(edge.Header, header); err != nil {
		return pluginserver.Undecided
	}
	return pluginserver.Continue
}

// Close releases what the instance shares.
func (i *instance) Close() { i.release() }

// refusing is an instance whose configuration cannot work.
type refusing struct{ *plugin }

// Handle refuses the request with 503.
func (r refusing) Handle(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
	return e.Exit(r.responses[edge.Unavailable])
}

// Close has nothing to release.
func (refusing) Close() {}
