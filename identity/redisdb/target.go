package redisdb

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// form is how the servers of a Redis belong together.
type form int

const (
	formSingle form = iota
	formSentinel
	formCluster
)

// target is a URL of Config, taken apart.
type target struct {
	form   form
	single string   // the URL with the first host alone, as go-redis reads it
	addrs  []string // host:port of every host
	master string   // with Sentinel: the name of the primary
}

var schemes = map[string]struct {
	form form
	base string
	port string
}{
	"redis":           {formSingle, "redis", "6379"},
	"rediss":          {formSingle, "rediss", "6379"},
	"redis+sentinel":  {formSentinel, "redis", "26379"},
	"rediss+sentinel": {formSentinel, "rediss", "26379"},
	"redis+cluster":   {formCluster, "redis", "6379"},
	"rediss+cluster":  {formCluster, "rediss", "6379"},
}

// parseTarget takes a URL apart. Its errors never hold what may be a password.
func parseTarget(raw string) (target, error) {
	const like = "it looks like redis://host:6379/0"
	if raw == "" {
		return target{}, errors.New("the URL is empty: " + like)
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return target{}, errors.New("the URL has no scheme: " + like)
	}
	s, ok := schemes[scheme]
	if !ok {
		return target{}, fmt.Errorf("the URL begins with %q: use redis://, redis+sentinel:// or redis+cluster://, "+
			"or the same with rediss for TLS", scheme+"://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	user, hosts := "", authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, hosts = authority[:at+1], authority[at+1:]
	}
	first, others, several := strings.Cut(hosts, ",")
	if several && s.form == formSingle {
		return target{}, errors.New("the URL names several hosts: use redis+sentinel:// or redis+cluster://")
	}
	t := target{form: s.form, addrs: []string{address(first, s.port)}}
	for host := range strings.SplitSeq(others, ",") {
		if host != "" {
			t.addrs = append(t.addrs, address(host, s.port))
		}
	}
	u, err := url.Parse(s.base + "://" + user + first + tail)
	if err != nil {
		return target{}, errors.New("the URL cannot be parsed: " + like)
	}
	return t.finish(u)
}

// finish takes what belongs to the form out of the URL.
func (t target) finish(u *url.URL) (target, error) {
	query := u.Query()
	t.master = query.Get("master")
	query.Del("master")
	u.RawQuery = query.Encode()
	t.single = u.String()
	switch {
	case t.form == formSentinel && t.master == "":
		return target{}, errors.New("the URL does not name the primary: add ?master=name, as the sentinels call it")
	case t.form != formSentinel && t.master != "":
		return target{}, errors.New("the URL names a master, which only redis+sentinel:// has")
	case t.form == formCluster && strings.Trim(u.Path, "/0") != "":
		return target{}, errors.New("the URL names a database: Redis Cluster has only database 0")
	}
	return t, nil
}

func address(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
