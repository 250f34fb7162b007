package mongostore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/earlybird/earlybird/identity/program"
)

// What is used when neither Config nor the URL says otherwise.
const (
	DefaultDatabase = "earlybird"
	DefaultTimeout  = 5 * time.Second
	selectTimeout   = 3 * time.Second
	auditRetention  = 400 * 24 * time.Hour
	maxRetention    = math.MaxInt32 * time.Second // what an index can say
)

// Config says how to reach the database. URL is required.
type Config struct {
	// URL is a MongoDB connection string. Its path names the database, its
	// readPreference is for reads of profiles alone: credentials, keys and the
	// ledger are read from the primary, and writes wait for a majority.
	URL          string
	User         string        // authenticates with PasswordFile, instead of what the URL says
	PasswordFile string        // path of a file that holds the password; see program.Secret
	CAFile       string        // path of PEM certificates to trust; turns TLS on
	Timeout      time.Duration // of one operation whose context has no deadline; zero: the URL's timeoutMS or DefaultTimeout

	AuditRetention time.Duration // how long login attempts are kept; zero: as the index says, 400 days in a new database
	Log            *slog.Logger  // nil: slog.Default

	Monitor *event.CommandMonitor // nil: none; is told of every command
}

// Validate reports every fault of the configuration, without connecting. No
// fault shows a password.
func (c Config) Validate() error {
	_, _, err := c.options()
	return err
}

// options resolves the configuration to the driver's options and the name of
// the database.
func (c Config) options() (*options.ClientOptions, string, error) {
	var faults []error
	opts := options.Client().ApplyURI(c.URL)
	database, err := databaseName(c.URL)
	if err == nil {
		err = opts.Validate()
	}
	if err != nil {
		faults = append(faults, fmt.Errorf("mongo URL: %s", redact(err.Error(), c.URL)))
	}
	if c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("mongo timeout %s must not be negative", c.Timeout))
	}
	if c.AuditRetention < 0 || c.AuditRetention > maxRetention {
		faults = append(faults, fmt.Errorf("audit retention %s must be 0 to %s", c.AuditRetention, maxRetention))
	}
	faults = append(faults, c.authenticate(opts), c.secure(opts))
	c.setDefaults(opts)
	return opts, database, errors.Join(faults...)
}

func databaseName(address string) (string, error) {
	parsed, err := connstring.ParseAndValidate(address)
	if err != nil {
		return "", err
	}
	if parsed.Database == "" {
		return DefaultDatabase, nil
	}
	return parsed.Database, nil
}

// redact takes what may be secret out of a message that may quote the URL or
// parts of it: the user information, and the values of options that hold
// credentials.
func redact(message, address string) string {
	hide := func(value string) {
		if plain, err := url.QueryUnescape(value); err == nil && plain != "" {
			message = strings.ReplaceAll(message, plain, "...")
		}
		if value != "" {
			message = strings.ReplaceAll(message, value, "...")
		}
	}
	_, rest, _ := strings.Cut(address, "://")
	if at := strings.LastIndex(rest, "@"); at > 0 {
		hide(rest[:at])
	}
	_, query, _ := strings.Cut(rest, "?")
	for option := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(option, "=")
		if name = strings.ToLower(name); strings.Contains(name, "password") || name == "authmechanismproperties" {
			hide(value)
		}
	}
	return message
}

func (c Config) authenticate(opts *options.ClientOptions) error {
	if c.User == "" && c.PasswordFile == "" {
		return nil
	}
	if c.User == "" || c.PasswordFile == "" {
		return errors.New("mongo user and password file: one without the other")
	}
	password, err := program.Secret(c.PasswordFile)
	if err != nil {
		return fmt.Errorf("mongo password file: %w", err)
	}
	credential := options.Credential{AuthSource: "admin"}
	if opts.Auth != nil {
		credential = *opts.Auth
	}
	credential.Username = c.User
	credential.Password = password
	credential.PasswordSet = true
	opts.SetAuth(credential)
	return nil
}

func (c Config) secure(opts *options.ClientOptions) error {
	if c.CAFile == "" {
		return nil
	}
	authorities, err := program.Authorities(c.CAFile)
	if err != nil {
		return fmt.Errorf("mongo CA file: %w", err)
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if opts.TLSConfig != nil {
		settings = opts.TLSConfig.Clone()
	}
	settings.RootCAs = authorities
	opts.SetTLSConfig(settings)
	return nil
}

// setDefaults sets short timeouts: the driver's default of 30 seconds is too long for
// a login to wait.
func (c Config) setDefaults(opts *options.ClientOptions) {
	if opts.AppName == nil {
		opts.SetAppName("earlybird")
	}
	if opts.ServerSelectionTimeout == nil {
		opts.SetServerSelectionTimeout(selectTimeout)
	}
	if opts.ConnectTimeout == nil {
		opts.SetConnectTimeout(selectTimeout)
	}
	if c.Timeout > 0 {
		opts.SetTimeout(c.Timeout)
	} else if opts.Timeout == nil {
		opts.SetTimeout(DefaultTimeout)
	}
	if c.Monitor != nil {
		opts.SetMonitor(c.Monitor)
	}
	opts.SetWriteConcern(writeconcern.Majority())
	opts.SetReadConcern(readconcern.Majority())
}
