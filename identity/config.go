package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/program"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// config is everything that can be set, checked.
type config struct {
	Listen         string
	MetricsListen  string // empty: neither metrics nor profiles are served
	OTLPEndpoint   string // empty: what OTEL_EXPORTER_OTLP_ENDPOINT says
	TrustedProxies []netip.Prefix

	Mongo mongostore.Config
	Redis redisdb.Config

	Issuer, Audience, ClientID string
	Secret, OldSecret          [keyring.SecretSize]byte // OldSecret is zero when there is none
	KeyMaxAge                  time.Duration            // 0: keys are not rotated by age

	Hash              password.Config
	MinPasswordLength int // code points
	MinPasswordScore  int // 0 to password.MaxScore

	Codes bool // registrations take an enrolment code

	AddressLimit, AccountLimit, AccountAddressLimit limit.Rate

	UserCacheSize, TokenCacheSize int
	UserCacheTTL                  time.Duration

	LogLevel      slog.Level
	ShutdownDelay time.Duration // between unready and the end of listening
	ShutdownGrace time.Duration // for what is in flight
}

// setting is one flag and environment variable.
type setting struct {
	name, value, usage string
	set                func(c *config, text string) error
}

var settingsTable = []setting{
	{"listen", "127.0.0.1:8081", "`ADDRESS` to serve on", func(c *config, v string) error { return setAddress(&c.Listen, v) }},
	{"metrics-listen", "", "`ADDRESS` to serve Prometheus metrics and profiles on, for operators alone (default: none)", func(c *config, v string) error {
		if v == "" {
			return nil
		}
		return setAddress(&c.MetricsListen, v)
	}},
	{"trusted-proxies", "127.0.0.0/8,::1/128", "`CIDRS` of the hops whose X-Forwarded-For is believed, with commas between them", setProxies},
	{"mongo-url", "mongodb://127.0.0.1:27117/earlybird", "`URL` of MongoDB; its path names the database", func(c *config, v string) error { return setText(&c.Mongo.URL, v) }},
	{"mongo-user", "", "MongoDB `USER`, with --mongo-password-file", func(c *config, v string) error { c.Mongo.User = v; return nil }},
	{"mongo-password-file", "", "`FILE` with the MongoDB user's password", func(c *config, v string) error { c.Mongo.PasswordFile = v; return nil }},
	{"mongo-ca-file", "", "`FILE` with the PEM certificates that MongoDB's is signed by; turns TLS on", func(c *config, v string) error { c.Mongo.CAFile = v; return nil }},
	{"redis-url", "redis://127.0.0.1:6479/0", "`URL` of Redis: redis://host:port/db, redis+sentinel://host:port,host:port/db?master=name or redis+cluster://host:port,host:port; rediss in place of redis for TLS", func(c *config, v string) error { return setText(&c.Redis.URL, v) }},
	{"redis-password-file", "", "`FILE` with the Redis password", func(c *config, v string) error { c.Redis.PasswordFile = v; return nil }},
	{"redis-ca-file", "", "`FILE` with the PEM certificates that Redis's is signed by, for rediss://", func(c *config, v string) error { c.Redis.CAFile = v; return nil }},
	{"issuer", "https://earlybird.example", "`URL` that names this service in tokens (iss)", func(c *config, v string) error { return setIssuer(&c.Issuer, v) }},
	{"audience", "earlybird", "`NAME` of whom tokens are for (aud)", func(c *config, v string) error { return setText(&c.Audience, v) }},
	{"client-id", "earlybird", "`NAME` of the client in tokens (client_id)", func(c *config, v string) error { return setText(&c.ClientID, v) }},
	{"key-secret-file", "", "`FILE` with the secret that seals signing keys: 32 random bytes as hex or base64 (required)", setSecret},
	{"key-old-secret-file", "", "`FILE` with the secret from before, while it is being changed: keys that it sealed are opened too", func(c *config, v string) (err error) {
		if v != "" {
			c.OldSecret, err = keyring.LoadSecret(v)
		}
		return err
	}},
	{"key-max-age", "90d", "`DURATION` after which the signing key is rotated, in days or hours; 0: never", func(c *config, v string) error {
		if v == "0" {
			return nil
		}
		return setDays(&c.KeyMaxAge, v)
	}},
	{"argon2-memory-kib", "19456", "`KIB` of memory of a password hash", func(c *config, v string) error { return setNumber(&c.Hash.Params.MemoryKiB, v, 8, 1<<20) }},
	{"argon2-time", "2", "`NUMBER` of passes of a password hash", func(c *config, v string) error { return setNumber(&c.Hash.Params.Time, v, 1, 100) }},
	{"argon2-parallelism", "1", "`NUMBER` of lanes of a password hash", func(c *config, v string) error { return setNumber(&c.Hash.Params.Parallelism, v, 1, 64) }},
	{"hash-concurrency", "0", "`NUMBER` of passwords hashed at once; 0: as many as there are cores", func(c *config, v string) error { return setNumber(&c.Hash.Concurrency, v, 0, 1024) }},
	{"min-password-length", strconv.Itoa(account.MinPassword), "least `NUMBER` of characters of a new password; 15 is recommended", func(c *config, v string) error {
		return setNumber(&c.MinPasswordLength, v, account.MinPassword, account.MaxPassword)
	}},
	{"min-password-score", "2", "least `SCORE` of a new password as zxcvbn estimates it, 0 (any) to 4", func(c *config, v string) error { return setNumber(&c.MinPasswordScore, v, 0, password.MaxScore) }},
	{"registration", "open", "`WHO` may register: open (anybody) or code (who has an enrolment code, one account for each customer)", func(c *config, v string) error {
		if v != "open" && v != "code" {
			return errors.New("must be open or code")
		}
		c.Codes = v == "code"
		return nil
	}},
	// Of an address as many as the gateway lets through. Of failures at one account
	// from unknown addresses 28 and one an hour, which is at most 100 in any three
	// days: NIST SP 800-63B section 5.2.2 allows no more than 100 in a row, and a row
	// ends with the owner's next login. A lower rate would cost Redis more memory for
	// each name that is made up: a failure is remembered until the rate has given it
	// back.
	{"address-limit", "600,600/m", "`BURST,COUNT/UNIT` of logins, registrations and changes of password from one address (of IPv6: a /64), or off", func(c *config, v string) error { return setRate(&c.AddressLimit, v) }},
	{"account-limit", "28,1/h", "`BURST,COUNT/UNIT` of failures at one account, from addresses where no login has succeeded in 30 days, or off", func(c *config, v string) error { return setRate(&c.AccountLimit, v) }},
	{"account-address-limit", "100,60/h", "`BURST,COUNT/UNIT` of failures at one account from one address, or off", func(c *config, v string) error { return setRate(&c.AccountAddressLimit, v) }},
	{"token-cache-size", "10000", "`NUMBER` of verified tokens remembered", func(c *config, v string) error { return setNumber(&c.TokenCacheSize, v, 1, 10_000_000) }},
	{"user-cache-size", "10000", "`NUMBER` of users remembered for GET /users/{id}", func(c *config, v string) error { return setNumber(&c.UserCacheSize, v, 1, 10_000_000) }},
	{"user-cache-ttl", "1m", "`DURATION` for which a user is remembered", func(c *config, v string) error {
		if err := setDuration(&c.UserCacheTTL, v); err != nil || c.UserCacheTTL == 0 {
			return errors.New("must be a duration over 0s and up to 1h, such as 1m")
		}
		return nil
	}},
	{"otlp-endpoint", "", "`URL` of a collector that takes traces as OTLP over HTTP, such as http://127.0.0.1:4318 (default: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces)", func(c *config, v string) error {
		if v == "" {
			return nil
		}
		return setCollector(&c.OTLPEndpoint, v)
	}},
	{"audit-retention", "400d", "`DURATION` for which login attempts are kept, in days or hours", func(c *config, v string) error {
		return setDays(&c.Mongo.AuditRetention, v)
	}},
	{"log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error", setLevel},
	{"shutdown-delay", "0s", "`DURATION` for which a service that was told to stop is unready but still serves", func(c *config, v string) error { return setDuration(&c.ShutdownDelay, v) }},
	{"shutdown-grace", "15s", "`DURATION` that requests in flight have to finish", func(c *config, v string) error { return setDuration(&c.ShutdownGrace, v) }},
}

// load reads every setting and returns every fault at once. No fault repeats a
// value: it may be a secret in the wrong place.
func load(value func(name string) string) (config, error) {
	var c config
	var faults []error
	for _, s := range settingsTable {
		if err := s.set(&c, value(s.name)); err != nil {
			faults = append(faults, fmt.Errorf("--%s (%s): %w", s.name, envName(s.name), err))
		}
	}
	if c.Mongo.URL != "" {
		faults = append(faults, c.Mongo.Validate())
	}
	if c.Redis.URL != "" {
		faults = append(faults, checkRedis(c.Redis))
	}
	if p := c.Hash.Params; p.MemoryKiB != 0 && p.Time != 0 && p.Parallelism != 0 {
		faults = append(faults, p.Validate())
	}
	return c, errors.Join(faults...)
}

func checkRedis(c redisdb.Config) error {
	client, err := redisdb.Connect(c)
	if err != nil {
		return err
	}
	return client.Close()
}

func setText(to *string, text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("must not be empty")
	}
	*to = text
	return nil
}

func setAddress(to *string, text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return errors.New("must be host:port, such as 127.0.0.1:8081")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("the port must be a number from 0 to 65535")
	}
	*to = text
	return nil
}

// setIssuer takes an issuer identifier (RFC 8414 section 2), and for trying on
// one machine also one with http.
func setIssuer(to *string, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("must be a URL with https, a host, and neither user, query nor fragment (RFC 8414 section 2); http is for localhost alone")
	}
	*to = text
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func setCollector(to *string, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("must be a URL with http or https, such as http://127.0.0.1:4318")
	}
	*to = text
	return nil
}

func setNumber[T int | uint32 | uint8](to *T, text string, least, most int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return fmt.Errorf("must be a number from %d to %d", least, most)
	}
	*to = T(n)
	return nil
}

func setDays(to *time.Duration, text string) (err error) {
	*to, err = program.ParseDays(text)
	return err
}

func setRate(to *limit.Rate, text string) error {
	rate, err := limit.ParseRate(text)
	*to = rate
	return err
}

func setDuration(to *time.Duration, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > time.Hour {
		return errors.New("must be a duration from 0s to 1h, such as 15s")
	}
	*to = d
	return nil
}

func setProxies(c *config, text string) error {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			return errors.New("must be CIDRs with commas between them, such as 10.0.0.0/8,::1/128")
		}
		// Addresses are compared as IPv4 when they are mapped (RFC 4291 section 2.5.5.2).
		if prefix.Addr().Is4In6() {
			if prefix.Bits() < 96 {
				return errors.New("of mapped IPv4 addresses (::ffff:0:0/96) must not name more than those: name IPv4 and IPv6 apart")
			}
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		if prefix.Bits() == 0 {
			return errors.New("must not be every address: whoever sends an X-Forwarded-For would choose the one they are limited by")
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix.Masked())
	}
	return nil
}

func setSecret(c *config, path string) error {
	if path == "" {
		return errors.New("is required: a file with 32 random bytes as hex or base64, such as openssl rand -hex 32 makes")
	}
	secret, err := keyring.LoadSecret(path)
	if err != nil {
		return err
	}
	c.Secret = secret
	return nil
}

func setLevel(c *config, text string) error {
	if err := c.LogLevel.UnmarshalText([]byte(text)); err != nil {
		return errors.New("must be debug, info, warn or error")
	}
	return nil
}
