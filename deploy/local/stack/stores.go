package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/local/mongodb"
	"github.com/earlybird/earlybird/deploy/local/supervise"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// startMongo serves the embedded MongoDB in this process.
func (s *stack) startMongo(ctx context.Context) error {
	server, err := mongodb.New(mongodb.Config{
		Listen: s.cfg.Mongo, Dir: filepath.Join(s.cfg.Data, "mongodb"), Log: s.log.With("part", "mongodb"),
	})
	if err != nil {
		return err
	}
	s.start(ctx, server.Run)
	return nil
}

// startRedis starts the redis-server of this machine, or the embedded one.
func (s *stack) startRedis(ctx context.Context) error {
	program, err := exec.LookPath(cmp.Or(s.cfg.RedisServer, "redis-server"))
	if s.cfg.Miniredis || err != nil {
		return s.startMiniredis(ctx)
	}
	dir := filepath.Join(s.cfg.Data, "redis")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder of redis: %w", err)
	}
	host, port, err := net.SplitHostPort(s.cfg.Redis)
	if err != nil {
		return fmt.Errorf("address of redis: %w", err)
	}
	args := []string{
		"--port", port, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
		"--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning",
	}
	if host != "" {
		args = append(args, "--bind", host)
	}
	s.redis = "redis-server (" + program + "), append-only in " + dir
	client, err := redisdb.Connect(redisdb.Config{URL: s.cfg.redisURL(), PoolSize: 1})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return s.child(ctx, supervise.Program{
		Name: "redis", Path: program, Args: args, Env: supervise.PathOnly(), Grace: 10 * time.Second,
		Quiet: s.cfg.LogLevel > slog.LevelInfo, // it greets at its highest level
	}, func(ctx context.Context) error { return ping(ctx, client) })
}

func ping(ctx context.Context, client redis.UniversalClient) error {
	return client.Ping(ctx).Err()
}

// startMiniredis serves the embedded Redis. It keeps nothing on disk: identity
// fills it from MongoDB after a restart.
func (s *stack) startMiniredis(ctx context.Context) error {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(s.cfg.Redis); err != nil {
		return fmt.Errorf("start the embedded redis: %w", err)
	}
	s.redis = "miniredis, embedded and in memory alone"
	s.start(ctx, func(ctx context.Context) error {
		defer server.Close()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				server.FastForward(time.Second) // its time to live stands still otherwise
			}
		}
	})
	return nil
}

// firstCampaign opens the first campaign where there never was one: the first
// 100 get 30 % off.
func (s *stack) firstCampaign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	store, err := mongostore.Open(ctx, mongostore.Config{URL: s.cfg.mongoURL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("first campaign: %w", err)
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }()
	client, err := redisdb.Connect(redisdb.Config{URL: s.cfg.redisURL()})
	if err != nil {
		return fmt.Errorf("first campaign: %w", err)
	}
	defer func() { _ = client.Close() }()
	admin := campaign.NewAdmin(campaign.AdminConfig{
		Store: store, Mirror: mirror.New(mirror.Config{Redis: client}), By: "earlybird-local",
	})
	log, err := admin.Read(ctx)
	var damage *campaign.DamageError
	if errors.As(err, &damage) || err == nil && log.Latest() != nil {
		return nil // identity and the command line say more
	}
	if err == nil {
		_, err = admin.Commit(ctx, campaign.Start(campaign.Settings{
			Name: "Early Bird", Description: "30 % off for the first 100 who log in", Slots: 100, Discount: 30, Waitlist: campaign.DefaultWaitlist,
		}))
	}
	var foreign *campaign.ForeignError
	switch {
	case errors.As(err, &foreign):
		s.seed = "No campaign was opened: " + err.Error()
		return nil
	case err != nil:
		return fmt.Errorf("first campaign: %w", err)
	}
	s.seed = "A campaign was opened: the first 100 who log in get 30 % off."
	return nil
}
