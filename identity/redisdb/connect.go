// Package redisdb connects to Redis, and holds what every user of Redis in
// Earlybird shares: a [Follower] of a stream, and a circuit [Breaker].
package redisdb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/earlybird/earlybird/identity/program"
)

// Config says where Redis is.
type Config struct {
	// URL is one of
	//
	//	redis://[user[:password]@]host[:port][/db]
	//	redis+sentinel://[user[:password]@]host[:port],...[/db]?master=name
	//	redis+cluster://[user[:password]@]host[:port],...
	//
	// and rediss in place of redis for TLS. With Sentinel the hosts are the
	// sentinels, which are asked without a password.
	URL string
	// PasswordFile holds the password; see program.Secret. It replaces a
	// password in the URL.
	PasswordFile string
	// CAFile is a PEM file with the authorities that may have signed the
	// server's certificate. It needs TLS. Empty: the system's.
	CAFile string
	// PoolSize is the most connections to a server. 0: ten for each of
	// GOMAXPROCS, five in a cluster. Pipelines have a few of their own.
	PoolSize int
}

// connectTimeout bounds one attempt to connect, and a command for which the
// caller gave no deadline.
const connectTimeout = 2 * time.Second

// Connect returns a client for the servers at cfg.URL. It does not dial: a
// server that is down is found by the first command.
//
// Commands obey their context's deadline and are tried again once at most. With
// Sentinel and Cluster all of them go to primaries, reads included: a replica
// may be behind.
func Connect(cfg Config) (redis.UniversalClient, error) {
	target, err := parseTarget(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	opt, err := redis.ParseURL(target.single)
	if err != nil {
		return nil, fmt.Errorf("redis: URL: %w", err)
	}
	if cfg.PasswordFile != "" {
		if opt.Password, err = program.Secret(cfg.PasswordFile); err != nil {
			return nil, fmt.Errorf("redis: password file: %w", err)
		}
	}
	if err := trust(opt.TLSConfig, cfg.CAFile); err != nil {
		return nil, err
	}
	quietOnce.Do(func() { redis.SetLogger(quiet{}) })
	opt.PoolSize = cfg.PoolSize
	switch target.form {
	case formSentinel:
		return redis.NewFailoverClient(failoverOptions(opt, target)), nil
	case formCluster:
		return redis.NewClusterClient(clusterOptions(opt, target)), nil
	default:
		return redis.NewClient(singleOptions(opt)), nil
	}
}

const (
	// bufferSize is what a connection has to read into, and to write from, in
	// bytes. The library's default is 32 KiB; most commands and answers have a few
	// hundred bytes.
	bufferSize = 8 << 10
	// pipelinePoolSize is the most connections for pipelines alone, whose two
	// buffers have 128 KiB each. Each Follower holds one most of the time.
	pipelinePoolSize = 4
)

// once is how often a command is tried again, and how often a dial is made.
const once = 1

// quietly leaves out CLIENT SETINFO at the start of each connection: Redis 7.2 and
// later, and Valkey, deny it to a user with the documented rights and log that.
const quietly = true

// clusterLook is how often a client that is in use asks which server of a
// cluster has which slots. A primary that is gone cannot tell who follows it.
const clusterLook = time.Second

func singleOptions(opt *redis.Options) *redis.Options {
	opt.ContextTimeoutEnabled = true
	opt.DisableIdentity = quietly
	opt.MaxRetries = once
	opt.ReadBufferSize, opt.WriteBufferSize = bufferSize, bufferSize
	opt.PipelinePoolSize = pipelinePoolSize
	opt.DialerRetries = once
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = connectTimeout, connectTimeout, connectTimeout
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opt
}

func failoverOptions(opt *redis.Options, t target) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: t.master, SentinelAddrs: t.addrs, Username: opt.Username, Password: opt.Password, DB: opt.DB,
		TLSConfig: anyName(opt.TLSConfig), PoolSize: opt.PoolSize, ContextTimeoutEnabled: true, DisableIdentity: quietly,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize, PipelinePoolSize: pipelinePoolSize,
		MaxRetries: once, DialerRetries: once,
		DialTimeout: connectTimeout, ReadTimeout: connectTimeout, WriteTimeout: connectTimeout,
	}
}

func clusterOptions(opt *redis.Options, t target) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: t.addrs, Username: opt.Username, Password: opt.Password,
		TLSConfig: anyName(opt.TLSConfig), PoolSize: opt.PoolSize, ContextTimeoutEnabled: true, DisableIdentity: quietly,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize, PipelinePoolSize: pipelinePoolSize,
		MaxRetries: once, DialerRetries: once, ClusterStateReloadInterval: clusterLook,
		DialTimeout: connectTimeout, ReadTimeout: connectTimeout, WriteTimeout: connectTimeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// anyName lets each server be checked against the name it is dialed by, in
// place of that of the first in the URL.
func anyName(cfg *tls.Config) *tls.Config {
	if cfg != nil {
		cfg.ServerName = ""
	}
	return cfg
}

func trust(cfg *tls.Config, caFile string) error {
	if cfg != nil {
		cfg.MinVersion = tls.VersionTLS12
	}
	if caFile == "" {
		return nil
	}
	if cfg == nil {
		return errors.New("redis: a CA file needs TLS: begin the URL with rediss://")
	}
	authorities, err := program.Authorities(caFile)
	if err != nil {
		return fmt.Errorf("redis: CA file: %w", err)
	}
	cfg.RootCAs = authorities
	return nil
}

// quiet puts what the client library says of its connections, which callers
// hear of as errors anyway, among the debug messages.
type quiet struct{}

var quietOnce sync.Once

func (quiet) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, v...))
}
