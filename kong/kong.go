// Package kong carries Earlybird's declarative configuration for Kong, puts
// other addresses into it ([Render]) and says what is wrong with such a file
// before Kong does ([Validate]).
package kong

import (
	_ "embed" // for kong.yml
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

// The names of the service and of the upstream in kong.yml that stand for the
// identity service.
const (
	serviceName  = "identity"
	upstreamName = "identity-replicas"
)

// jwksPath is where the identity service publishes its keys.
const jwksPath = "/.well-known/jwks.json"

//go:embed kong.yml
var declarative []byte

// Options are what one installation has of its own. What is empty stays as it
// is in kong.yml.
type Options struct {
	// IdentityURL is where Kong and its plugins reach the identity service:
	// http or https, a host and perhaps a port, nothing more.
	IdentityURL string
	// RedisURL is where the plugins reach Redis: a redis or rediss URL, or a
	// reference that Kong resolves, such as {vault://env/earlybird-redis-url}.
	RedisURL string
	// Issuer and Audience are what identity's --issuer and --audience say.
	Issuer, Audience string
}

// Render returns kong.yml for the given installation, comments and all. The
// error lists every option that is wrong and never holds a Redis password.
func Render(o Options) ([]byte, error) {
	doc, err := parse(declarative)
	if err != nil {
		return nil, fmt.Errorf("the kong.yml of this program: %w", err)
	}
	e := &edit{text: declarative}
	errs := []error{
		o.setIdentity(doc, e),
		o.setRedis(doc, e),
		setEverywhere(doc, e, "issuer", o.Issuer),
		o.setAudience(doc, e),
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return e.apply()
}

// setIdentity points the service, its upstream and the plugins' JWKS at
// o.IdentityURL.
func (o Options) setIdentity(doc *yaml.Node, e *edit) error {
	if o.IdentityURL == "" {
		return nil
	}
	at, err := parseIdentity(o.IdentityURL)
	if err != nil {
		return err
	}
	service := named(get(doc, "services"), serviceName)
	upstream := named(get(doc, "upstreams"), upstreamName)
	var verify []string
	if at.protocol == "https" {
		verify = []string{trustNote, "tls_verify: true"}
	}
	e.set(get(service, "protocol"), at.protocol, verify...)
	e.set(get(service, "port"), at.port)
	e.set(get(upstream, "healthchecks", "active", "type"), at.protocol)
	e.set(get(first(get(upstream, "targets")), "target"), net.JoinHostPort(at.host, at.port))
	return setEverywhere(doc, e, "jwks_url", at.base+jwksPath)
}

// trustNote stands above tls_verify.
const trustNote = "# Whom to trust is nginx_proxy_proxy_ssl_trusted_certificate in kong.conf."

// setRedis points the plugins at o.RedisURL.
func (o Options) setRedis(doc *yaml.Node, e *edit) error {
	if o.RedisURL == "" {
		return nil
	}
	if err := checkRedis(o.RedisURL); err != nil {
		return err
	}
	return setEverywhere(doc, e, "redis_url", o.RedisURL)
}

// setAudience gives the plugins o.Audience, and the route that changes a
// password the audience of one-time passwords, which is made of it.
func (o Options) setAudience(doc *yaml.Node, e *edit) error {
	if o.Audience == "" {
		return nil
	}
	for _, p := range pluginNodes(doc) {
		if also := get(p, "config", "also_audience"); also != nil {
			e.set(also, o.Audience+strings.TrimPrefix(also.Value, get(p, "config", "audience").Value))
		}
	}
	return setEverywhere(doc, e, "audience", o.Audience)
}

// setEverywhere gives a config field of the project's own plugins a value,
// unless it is empty.
func setEverywhere(doc *yaml.Node, e *edit, field, value string) error {
	if value == "" {
		return nil
	}
	for _, p := range pluginNodes(doc) {
		if name := get(p, "name"); name == nil || !own(name.Value) {
			continue
		}
		e.set(get(p, "config", field), value)
	}
	return nil
}

// own reports whether name is one of the project's plugins.
func own(name string) bool { return name == settings.AuthName || name == settings.TagName }

// address is an identity URL, taken apart.
type address struct {
	protocol, host, port string
	base                 string // without a trailing slash
}

// parseIdentity takes an identity URL apart.
func parseIdentity(raw string) (address, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return address{}, errors.New("identity URL: not a URL; give one such as http://identity:8081")
	case u.Scheme != "http" && u.Scheme != "https":
		return address{}, fmt.Errorf("identity URL: the scheme is %q; use http or https, as in http://identity:8081", u.Scheme)
	case u.Hostname() == "":
		return address{}, errors.New("identity URL: there is no host in it; give one such as http://identity:8081")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return address{}, errors.New("identity URL: only scheme, host and port are allowed, as in http://identity:8081")
	case u.Scheme == "https" && net.ParseIP(u.Hostname()) != nil:
		return address{}, errors.New("identity URL: with https give a host name, as in https://identity:8443: Kong holds the certificate against a name, not against an address")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return address{}, errors.New("identity URL: the port must be a number between 1 and 65535")
	}
	return address{protocol: u.Scheme, host: u.Hostname(), port: port, base: u.Scheme + "://" + u.Host}, nil
}

// checkRedis refuses what can be neither a Redis URL nor a vault reference.
// It never repeats raw, which may hold a password.
func checkRedis(raw string) error {
	if schema.IsReference(raw) {
		return nil
	}
	u, err := url.Parse(raw)
	switch {
	case strings.HasPrefix(raw, "{vault://"):
		return errors.New("redis URL: a reference must name a vault and a secret, as in {vault://env/earlybird-redis-url}")
	case err != nil:
		return errors.New("redis URL: not a URL (a password must be percent-encoded); give one such as redis://redis:6379/0")
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return errors.New("redis URL: use redis://, rediss:// for TLS, or a reference such as {vault://env/earlybird-redis-url}")
	case u.Hostname() == "":
		return errors.New("redis URL: there is no host in it; give one such as redis://redis:6379/0")
	}
	return nil
}
