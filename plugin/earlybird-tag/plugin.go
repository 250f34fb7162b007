package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
	"github.com/earlybird/earlybird/plugin/pluginserver"
	"github.com/earlybird/earlybird/plugin/settings"
	"github.com/earlybird/earlybird/plugin/tag"
)

const (
	version  = "1.0.0"
	priority = 1440 // next to earlybird-auth; no other plugin acts on a login's response
)

func define() pluginserver.Definition {
	return pluginserver.Definition{
		Name: settings.TagName, Version: version, Priority: priority, Phase: "response",
		Schema:   settings.TagSchema(),
		Fallback: pluginserver.HeaderFallback(edge.Header, edge.Pending),
		New:      newPlugin,
	}
}

// plugin is what the instances of this process share.
type plugin struct {
	process pluginserver.Process
	keys    *edge.Pool[string, *token.JWKS]
	taggers *edge.Pool[settings.Tag, *tagger]
}

// tagger is a Tagger and the keys it needs.
type tagger struct {
	*tag.Tagger
	keys *token.JWKS
}

func newPlugin(ctx context.Context, process pluginserver.Process) (pluginserver.StartFunc, error) {
	p := &plugin{process: process, keys: edge.NewKeys(ctx, process.Log)}
	p.taggers = edge.NewPool(ctx, p.open)
	return p.start, nil
}

// start starts an instance. It never fails: that would turn every login into a
// 500. One whose configuration cannot work says pending, and the log says why.
func (p *plugin) start(ctx context.Context, config []byte) (pluginserver.Instance, error) {
	i, err := p.build(ctx, config)
	if err != nil {
		p.process.Log.ErrorContext(ctx, "configuration cannot work, the status of every login is pending", slog.Any("err", err))
		useless := &instance{plugin: p, tag: func(context.Context, []byte) string { return edge.Pending }, release: func() {}}
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
	t, release, err := p.taggers.Acquire(s)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, s.ClaimTimeoutDuration())
	defer cancel()
	_ = t.keys.WaitReady(wait) // without keys the status is pending
	return &instance{plugin: p, tag: t.Tag, release: release}, nil
}

// open builds what a configuration needs; ctx ends when it is used no more.
func (p *plugin) open(ctx context.Context, s settings.Tag) (*tagger, error) {
	client, err := redisdb.Connect(redisdb.Config{URL: s.RedisURL})
	if err != nil {
		return nil, err
	}
	keys, release, err := p.keys.Acquire(s.JWKSURL)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("jwks_url: %w", err), client.Close())
	}
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Issuer: s.Issuer, Audience: s.Audience, AlsoAudience: token.PasswordAudience(s.Audience),
		Leeway: s.LeewayDuration(), Keys: keys, Now: time.Now,
	})
	if err != nil {
		release()
		return nil, errors.Join(err, client.Close())
	}
	context.AfterFunc(ctx, func() {
		release()
		_ = client.Close() // a claim that still runs is pending
	})
	claimer := campaign.NewClaimer(campaign.ClaimerConfig{
		Redis: client, Replicas: s.Replicas, Timeout: s.ClaimTimeoutDuration(), Log: p.process.Log,
	})
	tags := tag.New(tag.Config{
		Verifier: verifier, OneTime: token.PasswordAudience(s.Audience), Claimer: claimer, Log: p.process.Log,
	})
	return &tagger{Tagger: tags, keys: keys}, nil
}

// instance is one configuration of the plugin.
type instance struct {
	*plugin
	tag     func(ctx context.Context, body []byte) string
	release func()
}

// Handle tags the response of a successful login. A header that cannot be set
// is left out: the login has succeeded.
func (i *instance) Handle(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
	status, err := e.Kong.ServiceResponse.GetStatus()
	if err == nil && status != http.StatusOK {
		return pluginserver.Continue
	}
	value := edge.Pending
	var body []byte
	if err == nil {
		body, err = e.Kong.ServiceResponse.GetRawBody()
	}
	if err == nil {
		value = i.tag(ctx, body)
	} else {
		i.process.Log.WarnContext(ctx, "login response could not be read", slog.Any("err", err))
	}
	if err := e.Kong.Response.SetHeader(edge.Header, value); err != nil {
		i.process.Log.WarnContext(ctx, "login response could not be tagged", slog.Any("err", err))
	}
	return pluginserver.Continue
}

// Close releases what the instance shares.
func (i *instance) Close() { i.release() }
