package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
	"github.com/earlybird/earlybird/plugin/pluginserver"
	"github.com/earlybird/earlybird/plugin/settings"
)

const (
	version  = "1.0.0"
	priority = 1440 // next to earlybird-auth; no other plugin acts on a login's response
)

func define() pluginserver.Definition {
	return pluginserver.Definition{
		Name: settings.TagName, Version: version, Priority: priority, Phase: "response",
		Schema:   settings.TagSchema(),
		Fallback: pluginserver.HeaderFallback(edge.Header, edge.Retry),
		New:      newPlugin,
	}
}

// plugin is what the instances of this process share.
type plugin struct {
	process pluginserver.Process
	keys    *edge.Pool[string, *token.JWKS]    // by the URL of the key set
	mirrors *edge.Pool[string, *mirror.Mirror] // by the URL of Redis
	logins  *prometheus.CounterVec             // by status
}

func newPlugin(ctx context.Context, process pluginserver.Process) (pluginserver.StartFunc, error) {
	p := &plugin{process: process, keys: edge.NewKeys(ctx, process.Log)}
	p.mirrors = edge.NewPool(ctx, connect)
	p.logins = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "earlybird_tag_logins_total", Help: "Logins, by the status in the Earlybird header.",
	}, []string{"status"})
	for _, status := range []campaign.Status{
		campaign.StatusGranted, campaign.StatusFull, campaign.StatusNone, campaign.StatusPaused,
		campaign.StatusEnded, campaign.StatusPending, campaign.StatusRetry,
	} {
		p.logins.WithLabelValues(string(status)) // so that a first one is seen to rise from 0
	}
	process.Metrics.MustRegister(p.logins)
	return p.start, nil
}

func connect(ctx context.Context, url string) (*mirror.Mirror, error) {
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = client.Close() }) // a lookup in progress ends as pending
	return mirror.New(mirror.Config{Redis: client}), nil
}

// start starts an instance. It never fails, since that would turn every login into
// a 500. If the configuration cannot work, the instance passes on identity's status,
// with pending for logins that have a place, and start logs the reason.
func (p *plugin) start(ctx context.Context, config []byte) (pluginserver.Instance, error) {
	i, err := p.build(ctx, config)
	if err != nil {
		p.process.Log.ErrorContext(ctx, "configuration cannot work: logins that count are answered with pending", slog.Any("err", err))
		useless := &instance{plugin: p, tagger: &tagger{log: p.process.Log}, release: func() {}}
		return pluginserver.NewRetry(pluginserver.RetryConfig{
			Start: p.build, Config: config, Otherwise: useless, Log: p.process.Log,
		}), nil
	}
	return i, nil
}

func (p *plugin) build(ctx context.Context, config []byte) (pluginserver.Instance, error) {
	s, err := settings.ParseTag(config, p.process.RedisURL)
	if err != nil {
		return nil, err
	}
	keys, releaseKeys, err := p.keys.Acquire(s.JWKSURL)
	if err != nil {
		return nil, fmt.Errorf("jwks_url: %w", err)
	}
	copies, releaseMirror, err := p.mirrors.Acquire(s.RedisURL)
	if err != nil {
		releaseKeys()
		return nil, err
	}
	release := func() { releaseKeys(); releaseMirror() }
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Issuer: s.Issuer, Leeway: s.LeewayDuration(), Keys: keys, Now: time.Now,
	})
	if err != nil {
		release()
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, s.ClaimTimeoutDuration())
	defer cancel()
	_ = keys.WaitReady(wait) // without keys the status is pending
	return &instance{plugin: p, release: release, tagger: &tagger{
		verifier: verifier, audience: s.Audience, log: p.process.Log,
		resolver: mirror.NewResolver(mirror.ResolverConfig{Standings: copies, Timeout: s.ClaimTimeoutDuration()}),
	}}, nil
}

// instance is one configuration of the plugin.
type instance struct {
	*plugin
	*tagger
	release func()
}

// Handle tags the response of a successful login. If the header cannot be set, the
// response goes out without it: the login has succeeded.
func (i *instance) Handle(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
	if status, err := e.ServiceStatus(); err == nil && status != http.StatusOK {
		return pluginserver.Continue
	}
	told := mirror.Outcome{Status: campaign.StatusRetry}
	header, err := e.ServiceHeader(edge.Header)
	if err == nil {
		told = i.tag(ctx, header, e.ServiceBody)
	} else {
		i.process.Log.WarnContext(ctx, "login response could not be read", slog.Any("err", err))
	}
	i.logins.WithLabelValues(string(told.Status)).Inc()
	if err := e.SetHeader(edge.Header, edge.Downstream(told)); err != nil {
		i.process.Log.WarnContext(ctx, "login response could not be tagged", slog.Any("err", err))
	}
	return pluginserver.Continue
}

// Close releases what the instance shares.
func (i *instance) Close() { i.release() }
