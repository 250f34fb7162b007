package command

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// The local stack's addresses.
const (
	localMongo    = "mongodb://127.0.0.1:27117/earlybird"
	localRedis    = "redis://127.0.0.1:6479/0"
	localIdentity = "http://127.0.0.1:8081"
	localGateway  = "http://127.0.0.1:8000"
)

// storeFlags say where MongoDB and Redis are, as the identity service's do. They
// are shown once, by storeHelp, and not in each command's help.
func storeFlags() []cli.Flag {
	flag := func(name, value, what string) cli.Flag {
		return &cli.StringFlag{
			Name: name, Value: value, Usage: what, Hidden: true,
			EnvVars: []string{"EARLYBIRD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))},
		}
	}
	return []cli.Flag{
		flag("mongo-url", localMongo, "`URL` of MongoDB; its path names the database"),
		flag("mongo-user", "", "MongoDB `USER`, with --mongo-password-file"),
		flag("mongo-password-file", "", "`FILE` with the MongoDB user's password"),
		flag("mongo-ca-file", "", "`FILE` with the authorities of MongoDB's certificate; turns TLS on"),
		flag("redis-url", localRedis, "`URL` of Redis"),
		flag("redis-password-file", "", "`FILE` with the Redis password"),
		flag("redis-ca-file", "", "`FILE` with the authorities of Redis's certificate, for rediss://"),
	}
}

// storeHelp lists the flags that say where the stores are.
func storeHelp() string {
	var b strings.Builder
	b.WriteString("Where MongoDB and Redis are, for every command that needs them; as flags, or in the\nenvironment (EARLYBIRD_MONGO_URL for --mongo-url); else the local stack's:\n\n")
	for _, f := range storeFlags() {
		s, _ := f.(*cli.StringFlag)
		fmt.Fprintf(&b, "   --%-21s %s\n", s.Name, strings.ReplaceAll(s.Usage, "`", ""))
	}
	return strings.TrimRight(b.String(), "\n")
}

func mongoConfig(c *cli.Context) mongostore.Config {
	return mongostore.Config{
		URL:          c.String("mongo-url"),
		User:         c.String("mongo-user"),
		PasswordFile: c.String("mongo-password-file"),
		CAFile:       c.String("mongo-ca-file"),
		Log:          slog.New(slog.DiscardHandler), // what it has to say is for the service's operator
	}
}

func redisConfig(c *cli.Context) redisdb.Config {
	return redisdb.Config{
		URL:          c.String("redis-url"),
		PasswordFile: c.String("redis-password-file"),
		CAFile:       c.String("redis-ca-file"),
	}
}

// stores are the connections of one command.
type stores struct {
	mongo  *mongostore.Store
	redis  redis.UniversalClient
	mirror *mirror.Mirror
	by     string // who is at work
}

// open connects to both stores. A setting that makes no sense is a usage error.
func open(c *cli.Context) (*stores, error) {
	if err := mongoConfig(c).Validate(); err != nil {
		return nil, &usageError{err}
	}
	by, err := who(c)
	if err != nil {
		return nil, err
	}
	client, err := redisdb.Connect(redisConfig(c))
	if err != nil {
		return nil, &usageError{err}
	}
	store, err := mongostore.Connect(c.Context, mongoConfig(c))
	if err != nil {
		_ = client.Close() // the error that counts is that of MongoDB
		return nil, err
	}
	return &stores{mongo: store, redis: client, mirror: mirror.New(mirror.Config{Redis: client}), by: by}, nil
}

// close ends the connections. What was asked for is done by then.
func (s *stores) close(ctx context.Context) {
	_ = s.redis.Close()
	_ = s.mongo.Close(context.WithoutCancel(ctx))
}

// campaigns returns the campaigns' administration on these stores.
func (s *stores) campaigns() *campaign.Admin {
	return campaign.NewAdmin(campaign.AdminConfig{Store: s.mongo, Mirror: s.mirror, By: s.by})
}

// shown is a URL without what may be secret in it: whom it names, and the values
// of its options.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "an address that cannot be parsed"
	}
	scheme := ""
	if u.Scheme != "" {
		scheme = u.Scheme + "://"
	}
	text := scheme + u.Host + u.Path
	var options []string
	for pair := range strings.FieldsFuncSeq(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		options = append(options, name+"=...")
	}
	if len(options) > 0 {
		text += "?" + strings.Join(options, "&")
	}
	return text
}
