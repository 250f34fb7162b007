package campaign

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ConnectConfig says where Redis is.
type ConnectConfig struct {
	// URL is redis://[user[:password]@]host[:port][/db], or rediss:// for TLS.
	URL string
	// PasswordFile holds the password, one trailing line break is ignored. It
	// replaces a password in the URL.
	PasswordFile string
	// CAFile is a PEM file with the authorities that may have signed the
	// server's certificate. It needs TLS. Empty: the system's.
	CAFile string
	// PoolSize is the most connections to a server. 0: ten per core.
	PoolSize int
}

// connectTimeout bounds one attempt to connect, and a command for which the
// caller gave no deadline.
const connectTimeout = 2 * time.Second

// Connect returns a client for the server at cfg.URL. It does not dial: a
// server that is down is found by the first command.
//
// Commands obey their context's deadline, which a claim's time limit rests on,
// and are tried again once at most.
func Connect(cfg ConnectConfig) (redis.UniversalClient, error) {
	if cfg.URL == "" {
		return nil, errors.New("redis: the URL is empty: it looks like redis://host:6379/0")
	}
	if u, err := url.Parse(cfg.URL); err != nil {
		return nil, errors.New("redis: the URL cannot be parsed: it looks like redis://host:6379/0")
	} else if u.Scheme != "redis" && u.Scheme != "rediss" {
		return nil, fmt.Errorf("redis: the URL begins with %q: use redis:// or rediss://", u.Scheme+"://")
	}
	quietOnce.Do(func() { redis.SetLogger(quiet{}) })
	opt, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("redis: URL: %w", err)
	}
	if cfg.PasswordFile != "" {
		if opt.Password, err = readPassword(cfg.PasswordFile); err != nil {
			return nil, err
		}
	}
	if err := trust(opt.TLSConfig, cfg.CAFile); err != nil {
		return nil, err
	}
	opt.PoolSize = cfg.PoolSize
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries = 1
	opt.DialTimeout = connectTimeout
	opt.DialerRetries = 1
	opt.ReadTimeout = connectTimeout
	opt.WriteTimeout = connectTimeout
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opt), nil
}

func readPassword(path string) (string, error) {
	b, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the file
	if err != nil {
		return "", fmt.Errorf("redis: password file: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if password == "" {
		return "", fmt.Errorf("redis: password file %s is empty", path)
	}
	return password, nil
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
	pem, err := os.ReadFile(caFile) //nolint:gosec // G304: the operator names the file
	if err != nil {
		return fmt.Errorf("redis: CA file: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("redis: CA file %s holds no PEM certificate", caFile)
	}
	return nil
}

// quiet puts what the client library says of its connections, which callers
// hear of as errors anyway, among the debug messages.
type quiet struct{}

var quietOnce sync.Once

func (quiet) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, v...))
}
