package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/redisdb"
)

func mongoCheck(config mongostore.Config) doctor.Check {
	return doctor.Check{
		Name: "mongodb", Target: config.URL,
		Hint: "start it, or name another address with --mongo-url or EARLYBIRD_MONGO_URL (and --mongo-user, --mongo-password-file, --mongo-ca-file)",
		Look: onMongo(config, func(context.Context, *mongostore.Store) (string, error) { return "the primary answers", nil }),
		Then: []doctor.Check{
			{Name: "mongodb-indexes", Hint: "may this user list indexes?", Look: onMongo(config, func(ctx context.Context, s *mongostore.Store) (string, error) {
				faults, err := s.IndexFaults(ctx)
				if err != nil {
					return "", err
				}
				return doctor.Indexes(faults)
			})},
			{Name: "mongodb-server", Hint: "may this user run hello and buildInfo?", Look: onMongo(config, func(ctx context.Context, s *mongostore.Store) (string, error) {
				d, err := s.Deployment(ctx)
				if err != nil {
					return "", err
				}
				return doctor.Replication(d)
			})},
		},
	}
}

func onMongo(config mongostore.Config, look func(context.Context, *mongostore.Store) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		store, err := mongostore.Connect(ctx, config)
		if err != nil {
			return "", err
		}
		defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what was to be read is read
		return look(ctx, store)
	}
}

func redisCheck(config redisdb.Config) doctor.Check {
	setting := func(name string, judge func(doctor.RedisSettings) (string, error)) doctor.Check {
		return doctor.Check{Name: name, Hint: "is this a Redis?", Look: onRedis(config, func(ctx context.Context, client redis.UniversalClient) (string, error) {
			s, err := readSettings(ctx, client)
			if err != nil {
				return "", err
			}
			return judge(s)
		})}
	}
	return doctor.Check{
		Name: "redis", Target: config.URL,
		Hint: "start it, or name another address with --redis-url or EARLYBIRD_REDIS_URL (and --redis-password-file, --redis-ca-file)",
		Look: onRedis(config, func(ctx context.Context, client redis.UniversalClient) (string, error) {
			return "answers", client.Ping(ctx).Err()
		}),
		Then: []doctor.Check{
			{Name: "redis-claims", Hint: "may this user run scripts?", Look: onRedis(config, lookAtClaims)},
			setting("redis-eviction", doctor.RedisSettings.Eviction),
			setting("redis-append", doctor.RedisSettings.Append),
			setting("redis-fsync", doctor.RedisSettings.Fsync),
		},
	}
}

func onRedis(config redisdb.Config, look func(context.Context, redis.UniversalClient) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		client, err := redisdb.Connect(config)
		if err != nil {
			return "", err
		}
		defer func() { _ = client.Close() }() // what was to be read is read
		return look(ctx, client)
	}
}

// lookAtClaims reads the campaign: whether logins get places.
func lookAtClaims(ctx context.Context, client redis.UniversalClient) (string, error) {
	const waits = "identity restores it within seconds: is one running, and does it reach this Redis and MongoDB?"
	if info, err := client.Info(ctx, "replication").Result(); err == nil && strings.Contains(info, "role:slave") {
		return "", &doctor.Advised{Problem: "this is a replica: it takes no logins", Advice: "name the primary, or the sentinels, with --redis-url or EARLYBIRD_REDIS_URL"}
	}
	s, err := campaign.NewBoard(client).Snapshot(ctx)
	switch {
	case err != nil:
		return "", err
	case !s.Exists:
		return "", &doctor.Advised{Problem: "claims are closed: it holds no campaign, nor that there is none", Advice: waits}
	case !s.Verified:
		return "", &doctor.Advised{Problem: "claims are closed: its data was not compared with the ledger since it started", Advice: waits}
	case s.Last != s.Arrivals:
		return "", &doctor.Advised{
			Problem: fmt.Sprintf("claims are closed: %d places were given and %d are there", s.Last, s.Arrivals),
			Advice:  `"earlybird campaign restore" rebuilds them, and "earlybird campaign audit" says what differs`,
		}
	case s.Campaign.ID == "":
		return "open; there is no campaign", nil
	default:
		return fmt.Sprintf("open, campaign %s, %d places", s.Campaign.ID, s.Arrivals), nil
	}
}

// readSettings reads what Redis shows of its settings: INFO tells most, also
// where CONFIG is forbidden. Of a cluster's primaries the worst counts.
func readSettings(ctx context.Context, client redis.UniversalClient) (doctor.RedisSettings, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return settingsOf(ctx, client)
	}
	var one sync.Mutex
	var worst doctor.RedisSettings
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		s, err := settingsOf(ctx, node)
		one.Lock()
		defer one.Unlock()
		if worst == (doctor.RedisSettings{}) || wrongs(s) > wrongs(worst) {
			worst = s
		}
		return err
	})
	return worst, err
}

// wrongs counts what fails of a server's settings.
func wrongs(s doctor.RedisSettings) int {
	n := 0
	for _, judge := range []func() (string, error){s.Eviction, s.Append, s.Fsync} {
		if _, err := judge(); err != nil {
			n++
		}
	}
	return n
}

func settingsOf(ctx context.Context, client redis.Cmdable) (doctor.RedisSettings, error) {
	var s doctor.RedisSettings
	for section, fields := range map[string]map[string]*string{
		"memory":      {"maxmemory_policy": &s.Policy, "maxmemory": &s.MaxMemory, "used_memory": &s.UsedMemory},
		"persistence": {"aof_enabled": &s.AppendOnly},
	} {
		text, err := client.Info(ctx, section).Result()
		if err := refused(&s, err); err != nil {
			return s, err
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if to := fields[name]; to != nil {
				*to = value
			}
		}
	}
	s.AppendOnly = map[string]string{"1": "yes", "0": "no"}[s.AppendOnly]
	for name, to := range map[string]*string{"appendfsync": &s.AppendFsync, "min-replicas-to-write": &s.MinReplicas} {
		found, err := client.ConfigGet(ctx, name).Result()
		if err := refused(&s, err); err != nil {
			return s, err
		}
		*to = found[name]
	}
	return s, nil
}

// refused notes that the server answered, and does not want to tell. Any other
// error is returned.
func refused(s *doctor.RedisSettings, err error) error {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return err
	}
	s.WhyUnreadable = answer.Error()
	return nil
}
