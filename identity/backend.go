package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/httpapi"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/telemetry"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// reconnectEvery is the time between two attempts to reach MongoDB at the
// start; each attempt itself takes a few seconds to fail.
const reconnectEvery = time.Second

// backend is what the service keeps open: MongoDB, Redis and the signing keys.
type backend struct {
	config config
	log    *slog.Logger
	hasher *password.Hasher
	redis  redis.UniversalClient
	// revoked is the same for edge and identity: what a token may be is decided
	// in one way.
	revoked *revocation.Feed

	registry prometheus.Registerer
	metrics  *telemetry.Metrics
	tracing  *telemetry.Tracing

	store    atomic.Pointer[mongostore.Store] // nil until MongoDB has answered
	campaign atomic.Pointer[campaign.Replica] // nil until then, too
	ring     atomic.Pointer[keyring.Ring]     // nil until the keys have been read
	users    *account.UserCache               // nil until the store is there
}

// newBackend makes what needs no connection.
func newBackend(c config, log *slog.Logger, registry prometheus.Registerer, tracing *telemetry.Tracing) (*backend, error) {
	metrics := telemetry.NewMetrics(registry)
	c.Hash.Observe = metrics.Hashed
	hasher, err := password.NewHasher(c.Hash)
	if err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	client, err := redisdb.Connect(c.Redis)
	if err != nil {
		return nil, err
	}
	return &backend{
		config: c, log: log, hasher: hasher, redis: client,
		revoked:  revocation.NewFeed(revocation.FeedConfig{Redis: client, Log: log}),
		registry: registry, metrics: metrics, tracing: tracing,
	}, nil
}

// run opens everything, hands it to api, and keeps the keys and the campaign
// going until ctx ends.
func (b *backend) run(ctx context.Context, api *httpapi.API) error {
	b.metrics.HashForm(b.hasher.Form())
	b.log.InfoContext(ctx, "hashing passwords", "argon2id_form", b.hasher.Form())
	if err := b.open(ctx, api); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop while it started
		}
		return err
	}
	err := telemetry.RegisterState(b.registry, telemetry.State{
		Hashes: b.hasher.Load, Keys: b.ring.Load().Stats, Users: b.users.Stats, Campaign: b.campaign.Load().Stats,
	})
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	b.log.InfoContext(ctx, "serving accounts, logins and promotions")
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return b.ring.Load().Run(running) })
	group.Go(func() error { return b.campaign.Load().Run(running) })
	group.Go(func() error { return b.revoked.Run(running) })
	group.Go(func() error { return b.publisher().Run(running) })
	group.Go(func() error { return b.pruneAudit(running) })
	return group.Wait()
}

// pruneEvery is the time between two looks for login attempts that are too old.
const pruneEvery = time.Hour

// pruneAudit removes login attempts that are too old, where the server does not
// do so by itself, until ctx ends.
func (b *backend) pruneAudit(ctx context.Context) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		err := b.store.Load().PruneAttempts(ctx, time.Now().Add(-b.config.Mongo.AuditRetention))
		if err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "old login attempts not removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (b *backend) open(ctx context.Context, api *httpapi.API) error {
	if err := b.untilThere(ctx, "mongodb", b.openStore); err != nil {
		return err
	}
	if err := b.untilThere(ctx, "keys", b.openRing); err != nil {
		return err
	}
	services, err := b.services()
	if err != nil {
		return err
	}
	return api.Open(services)
}

// untilThere repeats open while what it needs does not answer. Any other error
// is for a person to mend, and ends the service.
func (b *backend) untilThere(ctx context.Context, what string, open func(context.Context) error) error {
	for {
		err := open(ctx)
		if !unavailable.Is(err) {
			return err
		}
		b.log.WarnContext(ctx, "waiting for a dependency", "dependency", what, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectEvery):
		}
	}
}

func (b *backend) openStore(ctx context.Context) error {
	settings := b.config.Mongo
	settings.Log = b.log
	settings.Monitor = b.metrics.Commands(b.tracing.Tracer())
	store, err := mongostore.Open(ctx, settings)
	if err == nil {
		b.store.Store(store)
	}
	return err
}

func (b *backend) openRing(ctx context.Context) error {
	ring, err := keyring.Open(ctx, keyring.Config{
		Store: b.store.Load(), Secret: b.config.Secret, OldSecret: b.config.OldSecret, MaxAge: b.config.KeyMaxAge, Now: time.Now, Log: b.log,
	})
	if err == nil {
		b.ring.Store(ring)
	}
	return err
}

// services puts the domain together over what is open.
func (b *backend) services() (httpapi.Backend, error) {
	ring := b.ring.Load()
	writer := revocation.NewWriter(revocation.WriterConfig{Store: b.store.Load(), Redis: b.redis, Feed: b.revoked})
	var cacheErr error
	b.users, cacheErr = account.NewUserCache(account.UserCacheConfig{
		Source: b.store.Load(), Size: b.config.UserCacheSize, TTL: b.config.UserCacheTTL,
	})
	var codes account.Enrolment
	if b.config.Codes {
		codes = enrolment.NewRegistry(b.store.Load(), time.Now)
	}
	service, accountErr := account.NewService(account.ServiceConfig{
		Store: b.metrics.Store(b.store.Load()), Hasher: b.hasher, Revoker: writer, Generations: b.revoked, Enrolment: codes,
		Limiter: b.limiter(), MinPasswordScore: b.config.MinPasswordScore,
		MinPasswordLength: b.config.MinPasswordLength, Unrecorded: b.metrics.Unaudited, Log: b.log,
	})
	issuer, issuerErr := token.NewIssuer(token.IssuerConfig{
		Issuer: b.config.Issuer, Audience: b.config.Audience, ClientID: b.config.ClientID, Key: ring.Signer, Now: time.Now,
	})
	passwordIssuer, passwordErr := token.NewIssuer(token.IssuerConfig{
		Issuer: b.config.Issuer, Audience: token.PasswordAudience(b.config.Audience), ClientID: b.config.ClientID,
		Key: ring.Signer, Now: time.Now,
	})
	verifier, verifierErr := token.NewVerifier(token.VerifierConfig{
		Issuer: b.config.Issuer, Leeway: clockLeeway, Keys: ring, Now: time.Now,
	})
	tokens, tokensErr := token.NewCache(token.CacheConfig[struct{}]{Verifier: verifier, Size: b.config.TokenCacheSize})
	b.campaign.Store(campaign.NewReplica(campaign.ReplicaConfig{
		Store: b.store.Load(),
		Mirror: mirror.New(mirror.Config{
			Redis: b.redis, Timeout: mirrorTimeout, Breaker: &redisdb.Breaker{Probe: mirrorTimeout},
		}),
		Log:    b.log,
		Placed: b.metrics.Placed, Appended: b.metrics.Appended,
	}))
	return httpapi.Backend{
		Accounts: accounts{service, b.users, b.metrics}, Issuer: issuer, Audience: b.config.Audience, Verifier: tokens, Revocations: revocations{b.revoked, writer},
		PasswordIssuer: passwordIssuer, Promotions: b.campaign.Load(), Keys: publicKeys{ring},
	}, errors.Join(cacheErr, accountErr, issuerErr, passwordErr, verifierErr, tokensErr)
}

// accounts is the service as httpapi asks for it: its logins counted, its users
// remembered.
type accounts struct {
	*account.Service
	users   *account.UserCache
	metrics *telemetry.Metrics
}

func (a accounts) Authenticate(ctx context.Context, r account.LoginRequest) (account.Credential, error) {
	return a.metrics.Count(a.Service.Authenticate)(ctx, r)
}

func (a accounts) User(ctx context.Context, id string) (account.User, error) {
	return a.users.User(ctx, id)
}

func (b *backend) limiter() account.Limiter {
	return limiter{limit.New(limit.Config{
		Redis: b.redis, Address: b.config.AddressLimit, Account: b.config.AccountLimit, Both: b.config.AccountAddressLimit, Log: b.log,
	})}
}

// limiter is a *limit.Limiter as account asks for it.
type limiter struct{ *limit.Limiter }

func (l limiter) Take(ctx context.Context, name, address string) (account.Pass, error) {
	pass, err := l.Limiter.Take(ctx, name, address)
	if err != nil {
		return nil, err
	}
	return pass, nil
}

// clockLeeway is how far the clocks of two replicas may differ, as at the edge.
const clockLeeway = 5 * time.Second

// mirrorTimeout bounds one call of the campaign's mirror: logins wait for it.
const mirrorTimeout = 100 * time.Millisecond

// publisher gives Redis the revocations that it lacks, and the feed what
// MongoDB has.
func (b *backend) publisher() *revocation.Publisher {
	return revocation.NewPublisher(revocation.PublisherConfig{
		Store: b.store.Load(), Redis: b.redis, Feed: b.revoked, Log: b.log,
	})
}

// revocations is who knows and who decides, as httpapi asks for them.
type revocations struct {
	*revocation.Feed
	*revocation.Writer
}

// checks are the checks of /readyz. Redis is optional: without it, edges learn of
// new places later. So are places: a log that is damaged or lacks entries is the same
// for all replicas and must not take them all out; logins go on and are answered with
// retry.
func (b *backend) checks() []httpapi.Check {
	return []httpapi.Check{
		{Name: "mongodb", Remote: true, Probe: func(ctx context.Context) error {
			if store := b.store.Load(); store != nil {
				return store.Ping(ctx)
			}
			return errNotThere
		}},
		{Name: "keys", Probe: func(context.Context) error {
			if b.ring.Load() == nil {
				return errNotThere
			}
			return nil
		}},
		{Name: "revocations", Probe: func(context.Context) error {
			if !b.revoked.Ready() {
				return errNotThere
			}
			return nil
		}},
		{Name: "campaign", Probe: func(context.Context) error {
			if r := b.campaign.Load(); r != nil {
				return logIsRead(r)
			}
			return errNotThere
		}},
		{Name: "places", Optional: true, Probe: func(context.Context) error {
			if r := b.campaign.Load(); r != nil {
				return r.Ready()
			}
			return errNotThere
		}},
		{Name: "redis", Optional: true, Remote: true, Probe: func(ctx context.Context) error { return b.redis.Ping(ctx).Err() }},
	}
}

var errNotThere = errors.New("not there yet")

// logIsRead reports whether the campaign's log was read once and this process's
// clock is right, without which its tokens are wrong as well.
func logIsRead(r *campaign.Replica) error {
	s := r.Stats()
	if s.Skew.Abs() <= campaign.MaxSkew && (s.Behind || s.Damaged) {
		return nil
	}
	return r.Ready()
}

// close closes the connections, once nothing uses them any more.
func (b *backend) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := b.redis.Close()
	if store := b.store.Load(); store != nil {
		err = errors.Join(err, store.Close(ctx))
	}
	return err
}

// publicKeys is the ring as httpapi asks for it.
type publicKeys struct{ ring *keyring.Ring }

func (k publicKeys) JWKS() ([]byte, error) {
	set := k.ring.JWKS()
	if set.Len() == 0 {
		return nil, token.ErrNoKeys
	}
	return set.JSON(), nil
}
