package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/auth"
	"github.com/earlybird/earlybird/plugin/edge"
	"github.com/earlybird/earlybird/plugin/pluginserver"
	"github.com/earlybird/earlybird/plugin/settings"
)

const (
	version  = "1.0.0"
	priority = 1450 // that of Kong's own jwt plugin: before all of its limits
)

// startWait is how long an instance waits for its keys, the revocations and its
// first look at the campaign, so that the first requests after a start are not refused.
const startWait = 2 * time.Second

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

// plugin is what the instances of this process share.
type plugin struct {
	process   pluginserver.Process
	keys      *edge.Pool[string, *token.JWKS]
	revoked   *edge.Pool[string, *revocation.Feed] // by the URL of Redis
	checks    *edge.Pool[settings.Auth, *check]
	metrics   *auth.Metrics
	responses map[*edge.Problem]pluginserver.Response
}

// check is a Checker and what it waits for.
type check struct {
	checker *auth.Checker
	keys    *token.JWKS
	feed    *campaign.Feed
	revoked *revocation.Feed
}

func newPlugin(ctx context.Context, process pluginserver.Process) (pluginserver.StartFunc, error) {
	p := &plugin{
		process: process, keys: edge.NewKeys(ctx, process.Log),
		metrics: auth.NewMetrics(process.Metrics), responses: map[*edge.Problem]pluginserver.Response{},
	}
	p.revoked = edge.NewPool(ctx, p.follow)
	p.checks = edge.NewPool(ctx, p.open)
	for _, problem := range edge.Problems() {
		p.responses[problem] = response(problem)
	}
	process.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "earlybird_auth_tokens", Help: "Verified tokens that are remembered.",
	}, p.remembered))
	process.Metrics.MustRegister(revocation.Metrics(p.revocations)...)
	return p.start, nil
}

func (p *plugin) revocations() []revocation.Stats {
	var all []revocation.Stats
	for _, feed := range p.revoked.Values() {
		all = append(all, feed.Stats())
	}
	return all
}

func (p *plugin) remembered() float64 {
	n := 0
	for _, c := range p.checks.Values() {
		n += c.checker.Remembered()
	}
	return float64(n)
}

// start starts an instance. One whose configuration cannot work refuses every
// request with 503, and the log says why.
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
	c, release, err := p.checks.Acquire(s)
	if err != nil {
		return nil, err
	}
	c.wait(ctx)
	return &instance{plugin: p, check: c, release: release}, nil
}

// follow follows the revocations in the Redis at url until ctx ends. What is
// known of them outlives the configuration it was learned for: a new one that
// comes while Redis is down still knows who was revoked.
func (p *plugin) follow(ctx context.Context, url string) (*revocation.Feed, error) {
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		return nil, err
	}
	feed := revocation.NewFeed(revocation.FeedConfig{Redis: client, Log: p.process.Log})
	go func() {
		_ = feed.Run(ctx)  // it ends with ctx and returns nil
		_ = client.Close() // nothing uses it any more
	}()
	return feed, nil
}

// open builds what a configuration needs; ctx ends when it is used no more.
func (p *plugin) open(ctx context.Context, s settings.Auth) (*check, error) {
	client, err := redisdb.Connect(redisdb.Config{URL: s.RedisURL})
	if err != nil {
		return nil, err
	}
	keys, releaseKeys, err := p.keys.Acquire(s.JWKSURL)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("jwks_url: %w", err), client.Close())
	}
	revoked, releaseRevoked, err := p.revoked.Acquire(s.RedisURL)
	if err != nil {
		releaseKeys()
		return nil, errors.Join(err, client.Close())
	}
	release := func() {
		releaseKeys()
		releaseRevoked()
		_ = client.Close() // nothing uses it any more
	}
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Issuer: s.Issuer, Audience: s.Audience, AlsoAudience: s.AlsoAudience, Leeway: s.LeewayDuration(), Keys: keys, Now: time.Now,
	})
	if err != nil {
		release()
		return nil, err
	}
	c := &check{keys: keys, revoked: revoked}
	c.feed = campaign.NewFeed(campaign.FeedConfig{
		Redis: client, Log: p.process.Log,
		OnArrival: func(user string, position int64) { c.checker.Arrived(user, position) },
		OnGap:     func() { c.checker.Missed() },
	})
	c.checker = auth.New(auth.Config{
		Verifier: verifier, Keys: keys, Standings: c.feed, CacheSize: s.CacheSize,
		Revocations: revoked, Trusting: s.Revocation == settings.RevocationOptional,
		Log: p.process.Log, Now: time.Now, Metrics: p.metrics,
	})
	go func() {
		_ = c.feed.Run(ctx) // it ends with ctx and returns nil
		release()
	}()
	return c, nil
}

// wait returns when keys, campaign and revocations are there, or after startWait.
func (c *check) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	_ = c.keys.WaitReady(ctx) // without keys requests are refused with 503
	for !c.feed.Live() || !c.revoked.Ready() {
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
	release func()
}

// Handle makes two calls of Kong for a request that passes. An error of either
// ends in no pass: a header that cannot be read is no token, and one that cannot
// be set leaves the request undecided, which is a 500.
func (i *instance) Handle(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
	authorization, err := e.RequestHeader("authorization")
	if err != nil {
		return e.Exit(i.responses[i.checker.Unreadable()])
	}
	header, problem, err := i.checker.Check(ctx, authorization)
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
