package command

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func mongoCheck(config mongostore.Config) doctor.Check {
	on := func(look func(context.Context, *mongostore.Store) (string, error)) func(context.Context) (string, error) {
		return onStores(config, nil, func(ctx context.Context, s *stores) (string, error) { return look(ctx, s.mongo) })
	}
	return doctor.Check{
		Name: "mongodb", Target: config.URL,
		Hint: "start it, or name another address with --mongo-url or EARLYBIRD_MONGO_URL (and --mongo-user, --mongo-password-file, --mongo-ca-file)",
		Look: on(func(context.Context, *mongostore.Store) (string, error) { return "the primary answers", nil }),
		Then: []doctor.Check{
			{Name: "mongodb-clock", Hint: "may this user run hello?", Look: on(func(ctx context.Context, s *mongostore.Store) (string, error) {
				asked := time.Now()
				theirs, err := s.Now(ctx)
				if err != nil {
					return "", err
				}
				own := time.Now()
				return doctor.Clock(own, theirs, own.Sub(asked))
			})},
			{Name: "mongodb-indexes", Hint: "may this user list indexes?", Look: on(func(ctx context.Context, s *mongostore.Store) (string, error) {
				faults, err := s.IndexFaults(ctx)
				if err != nil {
					return "", err
				}
				return doctor.Indexes(faults)
			})},
			{Name: "mongodb-server", Hint: "may this user run hello and buildInfo?", Look: on(func(ctx context.Context, s *mongostore.Store) (string, error) {
				d, err := s.Deployment(ctx)
				if err != nil {
					return "", err
				}
				return doctor.Replication(d)
			})},
			{Name: "campaign-log", Hint: "deploy/docs/operations.md says what to do with a damaged log", Look: on(func(ctx context.Context, s *mongostore.Store) (string, error) {
				return doctor.Log(campaign.NewAdmin(campaign.AdminConfig{Store: s}).Read(ctx))
			})},
		},
	}
}

// redisCheck looks at Redis, and at what both stores must agree on. What is
// about both is not looked at while MongoDB does not answer: its own check says
// so.
func redisCheck(mongo mongostore.Config, config redisdb.Config) doctor.Check {
	both := func(look func(context.Context, *stores) (string, error)) func(context.Context) (string, error) {
		return onStores(mongo, &config, look)
	}
	return doctor.Check{
		Name: "redis", Target: config.URL,
		Hint: "start it, or name another address with --redis-url or EARLYBIRD_REDIS_URL (and --redis-password-file, --redis-ca-file)",
		Look: func(ctx context.Context) (string, error) {
			client, err := redisdb.Connect(config)
			if err != nil {
				return "", err
			}
			defer func() { _ = client.Close() }() // what was to be read is read
			return "answers", answered(client.HMGet(ctx, mirror.KeyCampaign, "origin").Err())
		},
		Then: []doctor.Check{
			{Name: "redis-rights", Hint: "what Redis said is above", Look: func(ctx context.Context) (string, error) {
				client, err := redisdb.Connect(config)
				if err != nil {
					return "", err
				}
				defer func() { _ = client.Close() }() // what was to be tried is tried
				return doctor.Rights(tryRights(ctx, client))
			}},
			{Name: "redis-origin", Hint: "redis-rights may say why", Look: both(func(ctx context.Context, s *stores) (string, error) {
				origin, err1 := s.mongo.Origin(ctx)
				m, err2 := s.mirror.Summary(ctx)
				r, err3 := revocation.Look(ctx, s.redis)
				if err := errors.Join(err1, err2, err3); err != nil {
					return "", err
				}
				return doctor.Origin(origin, m, r)
			})},
			{Name: "redis-campaign", Hint: "redis-rights may say why", Look: both(func(ctx context.Context, s *stores) (string, error) {
				m, err1 := s.mirror.Summary(ctx)
				l, err2 := s.campaigns().Read(ctx)
				now, err3 := s.mongo.Now(ctx)
				if err := errors.Join(err1, err2, err3); err != nil {
					return "", err
				}
				return doctor.Mirror(l, m, now)
			})},
			{Name: "redis-revocations", Hint: "redis-rights may say why", Look: both(func(ctx context.Context, s *stores) (string, error) {
				r, err := revocation.Look(ctx, s.redis)
				if err != nil {
					return "", err
				}
				return doctor.Revocations(r, time.Now()) // by the clock of an identity service
			})},
		},
	}
}

// answered is nil for a server that answers, were it with a refusal.
func answered(err error) error {
	var answer redis.Error
	if errors.As(err, &answer) {
		return nil
	}
	return err
}

// onStores connects for one look, to Redis only where it is named.
func onStores(mongo mongostore.Config, config *redisdb.Config, look func(context.Context, *stores) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		s := &stores{}
		if config != nil {
			client, err := redisdb.Connect(*config)
			if err != nil {
				return "", err
			}
			defer func() { _ = client.Close() }() // what was to be read is read
			s.redis, s.mirror = client, mirror.New(mirror.Config{Redis: client})
		}
		store, err := mongostore.Connect(ctx, mongo)
		if config != nil && unavailable.Is(err) {
			return "", &doctor.Warning{Problem: "not looked at: MongoDB does not answer", Advice: "see the check mongodb"}
		}
		if err != nil {
			return "", err
		}
		defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what was to be read is read
		s.mongo = store
		return look(ctx, s)
	}
}

// keyDoctor begins the keys on which rights are tried. They carry the hash tag
// of the others, and expire.
const keyDoctor = "earlybird:{earlybird}:doctor:"

// tryRights does once, on keys of its own, everything that identity, the
// gateways and this command line do in Redis.
func tryRights(ctx context.Context, client redis.UniversalClient) []doctor.Right {
	const text, hash, sorted, set, stream = keyDoctor + "string", keyDoctor + "hash", keyDoctor + "sorted", keyDoctor + "set", keyDoctor + "stream"
	script := redis.NewScript("return redis.call('GET', KEYS[1]) or ''")
	defer func() { // also where only some of it is allowed
		client.Del(context.WithoutCancel(ctx), text, hash, sorted, set, stream)
	}()
	tries := []struct {
		command string
		args    []any
	}{
		{"set", []any{"set", text, "1", "px", 60000}},
		{"get", []any{"get", text}},
		{"eval", []any{"eval", "return 1", 1, text}},
		{"evalsha", nil},
		{"eval_ro", []any{"eval_ro", "return 1", 1, text}},
		{"evalsha_ro", nil},
		{"expire", []any{"expire", text, 60}},
		{"hset", []any{"hset", hash, "a", "1"}},
		{"hget", []any{"hget", hash, "a"}},
		{"hmget", []any{"hmget", hash, "a"}},
		{"hincrby", []any{"hincrby", hash, "a", 1}},
		{"zadd", []any{"zadd", sorted, 1, "a"}},
		{"zscore", []any{"zscore", sorted, "a"}},
		{"zcard", []any{"zcard", sorted}},
		{"zremrangebyrank", []any{"zremrangebyrank", sorted, 0, 0}},
		{"sadd", []any{"sadd", set, "a"}},
		{"sismember", []any{"sismember", set, "a"}},
		{"scard", []any{"scard", set}},
		{"srem", []any{"srem", set, "a"}},
		{"xadd", []any{"xadd", stream, "*", "a", "1"}},
		{"xlen", []any{"xlen", stream}},
		{"xrange", []any{"xrange", stream, "-", "+", "count", 1}},
		{"xrevrange", []any{"xrevrange", stream, "+", "-", "count", 1}},
		{"xread", []any{"xread", "count", 1, "streams", stream, "0"}},
		{"xtrim", []any{"xtrim", stream, "maxlen", 0}},
		{"time", []any{"time"}},
		{"unlink", []any{"unlink", hash, sorted, set, stream}},
		{"del", []any{"del", text}},
	}
	var tried []doctor.Right
	for _, try := range tries {
		var err error
		switch try.command {
		case "evalsha":
			err = client.EvalSha(ctx, script.Hash(), []string{text}).Err()
		case "evalsha_ro":
			err = client.EvalShaRO(ctx, script.Hash(), []string{text}).Err()
		default:
			err = client.Do(ctx, try.args...).Err()
		}
		if errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") { // allowed, and nothing there
			err = nil
		}
		tried = append(tried, doctor.Right{Command: try.command, Err: err})
	}
	return tried
}
