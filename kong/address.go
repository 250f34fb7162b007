package kong

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// address is the URL of a server, taken apart. base is scheme, host, and the port
// if one was given.
type address struct{ scheme, host, port, base string }

func (a address) hostPort() string { return net.JoinHostPort(a.host, a.port) }

// parseServer takes the URL of a server apart that Kong proxies to. Errors say
// what it is the URL of, and show the example.
func parseServer(what, example, raw string) (address, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return address{}, fmt.Errorf("%s: not a URL; give one such as %s", what, example)
	case u.Scheme != "http" && u.Scheme != "https":
		return address{}, fmt.Errorf("%s: the scheme is %q; use http or https, as in %s", what, u.Scheme, example)
	case u.Hostname() == "":
		return address{}, fmt.Errorf("%s: there is no host in it; give one such as %s", what, example)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return address{}, fmt.Errorf("%s: only scheme, host and port are allowed, as in %s", what, example)
	case u.Scheme == "https" && net.ParseIP(u.Hostname()) != nil:
		return address{}, fmt.Errorf("%s: with https give a host name: Kong holds the certificate against a name, not against an address", what)
	}
	a := address{u.Scheme, u.Hostname(), u.Port(), u.Scheme + "://" + strings.TrimSuffix(u.Host, ":")}
	if a.port == "" {
		a.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if err := errors.Join(checkHost(u), checkPort(a.port)); err != nil {
		return address{}, fmt.Errorf("%s: %w", what, err)
	}
	return a, nil
}

var (
	label  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)
	digits = regexp.MustCompile(`^[0-9]+$`)
)

// checkHost refuses what is neither a host name (RFC 1123 section 2.1, with
// underscores, which container names have) nor an address that Kong takes.
func checkHost(u *url.URL) error {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		if ip, err := netip.ParseAddr(host); err != nil || ip.Zone() != "" || ip.Is4In6() || !ip.Is6() {
			return errors.New("the host in brackets is not an IPv6 address that Kong takes (no zone, no IPv4 in it)")
		}
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return errors.New("the host is not a host name: letters, digits and hyphens between dots, in punycode where it has others")
		}
	}
	if len(host) > 253 || digits.MatchString(labels[len(labels)-1]) {
		return errors.New("the host is neither a host name nor an address")
	}
	return nil
}

func checkPort(port string) error {
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return errors.New("the port must be a decimal number between 1 and 65535, without leading zeros")
	}
	return nil
}

var reference = regexp.MustCompile(`^\{vault://[a-zA-Z0-9-]+/[!-~]*[!-.0-~]\}$`)

// checkRedis refuses what can be neither a Redis URL nor a vault reference.
// It never repeats raw, which may hold a password.
func checkRedis(raw string) error {
	if reference.MatchString(raw) {
		return nil
	}
	u, err := url.Parse(raw)
	switch {
	case strings.HasPrefix(raw, "{"):
		return errors.New("redis URL: a reference must name a vault and a secret, as in {vault://env/earlybird-redis-url}")
	case err != nil:
		return errors.New("redis URL: not a URL (a password must be percent-encoded); give one such as redis://redis:6379/0")
	case strings.HasPrefix(u.Scheme, "redis+"):
		return errors.New("redis URL: Sentinel and Cluster go through a reference such as {vault://env/earlybird-redis-url}, the default, or the plugins' -redis-url-file")
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return errors.New("redis URL: use redis://, rediss:// for TLS, or a reference such as {vault://env/earlybird-redis-url}")
	case u.Hostname() == "":
		return errors.New("redis URL: there is no host in it; give one such as redis://redis:6379/0")
	}
	if u.Port() != "" {
		err = checkPort(u.Port())
	}
	if err := errors.Join(checkHost(u), err); err != nil {
		return fmt.Errorf("redis URL: %w", err)
	}
	return checkText("redis URL", raw)
}

// checkIssuer refuses what identity's --issuer refuses: an issuer identifier
// (RFC 8414 section 2), with http for this machine alone.
func checkIssuer(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Hostname() == "" {
		return errors.New("issuer: must be a URL with a host, and neither user, query nor fragment (RFC 8414 section 2), as in https://bank.example")
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	if local := u.Hostname() == "localhost" || ip.IsLoopback(); u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return errors.New("issuer: must begin with https://; http is for localhost alone")
	}
	if u.Port() != "" {
		err = checkPort(u.Port())
	}
	if err := errors.Join(checkHost(u), err); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	return checkText("issuer", raw)
}

func checkText(what, value string) error {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errors.New(what + ": has characters that cannot be printed")
	}
	return nil
}
