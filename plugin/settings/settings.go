// Package settings holds the configuration of the two plugins. The structs and
// their tags are the single source of the plugins' schemas in Kong, of the check of
// kong.yml, and of the values that the plugins run with.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/earlybird/earlybird/plugin/schema"
)

// The plugins' names, which are also the names of their executables.
const (
	AuthName = "earlybird-auth"
	TagName  = "earlybird-tag"
)

// Auth is the configuration of earlybird-auth.
type Auth struct {
	Issuer   string `json:"issuer" required:"true" description:"The iss claim a token must have: the identity service's --issuer."`
	Audience string `json:"audience" required:"true" default:"earlybird" description:"The aud claim a token must have: the identity service's --audience."`
	// AlsoAudience is set on the route that changes a password, and there alone.
	AlsoAudience string `json:"also_audience" description:"Another aud claim a token may have instead: <audience>/password on the route that changes a password, which is all that a one-time password opens."`
	JWKSURL      string `json:"jwks_url" required:"true" match:"^https?://" description:"Where the public keys are: the identity service's /.well-known/jwks.json."`
	RedisURL     string `json:"redis_url" match:"^rediss?://" encrypted:"true" referenceable:"true" description:"The campaign's Redis, redis:// or rediss:// with password. Unset: the file of the plugin's -redis-url-file."`
	Leeway       int    `json:"leeway" required:"true" default:"5" between:"0,60" description:"Seconds by which the clocks of issuer and edge may differ."`
	// Revocation is RevocationRequired or RevocationOptional.
	Revocation string `json:"revocation" required:"true" default:"required" one_of:"required,optional" description:"What to do until it is known which tokens were revoked: required answers 503, optional lets tokens pass that may have been revoked."`
	BeatMaxAge int    `json:"beat_max_age" required:"true" default:"15" between:"2,300" description:"Seconds after which, without a sign that the campaign in Redis is complete, a user without a grant is told grant=unknown. Longer than an election of MongoDB."`
	CacheSize  int    `json:"cache_size" required:"true" default:"100000" between:"1,10000000" description:"How many verified tokens each plugin process remembers."`
}

// The values of Auth.Revocation.
const (
	RevocationRequired = "required"
	RevocationOptional = "optional"
)

// Tag is the configuration of earlybird-tag.
type Tag struct {
	Issuer       string `json:"issuer" required:"true" description:"The iss claim a token must have: the identity service's --issuer."`
	Audience     string `json:"audience" required:"true" default:"earlybird" description:"The aud claim a token must have: the identity service's --audience."`
	JWKSURL      string `json:"jwks_url" required:"true" match:"^https?://" description:"Where the public keys are: the identity service's /.well-known/jwks.json."`
	RedisURL     string `json:"redis_url" match:"^rediss?://" encrypted:"true" referenceable:"true" description:"The campaign's Redis, redis:// or rediss:// with password. Unset: the file of the plugin's -redis-url-file."`
	Leeway       int    `json:"leeway" required:"true" default:"5" between:"0,60" description:"Seconds by which the clocks of issuer and edge may differ."`
	ClaimTimeout int    `json:"claim_timeout" required:"true" default:"250" between:"10,5000" description:"Milliseconds for which the rank of a login is looked up; then the login is answered with status pending."`
}

// LeewayDuration is Leeway as a duration.
func (a Auth) LeewayDuration() time.Duration { return time.Duration(a.Leeway) * time.Second }

// BeatMaxAgeDuration is BeatMaxAge as a duration.
func (a Auth) BeatMaxAgeDuration() time.Duration { return time.Duration(a.BeatMaxAge) * time.Second }

// LeewayDuration is Leeway as a duration.
func (t Tag) LeewayDuration() time.Duration { return time.Duration(t.Leeway) * time.Second }

// ClaimTimeoutDuration is ClaimTimeout as a duration.
func (t Tag) ClaimTimeoutDuration() time.Duration {
	return time.Duration(t.ClaimTimeout) * time.Millisecond
}

// AuthSchema is earlybird-auth's schema for Kong.
func AuthSchema() schema.Schema { return schema.Of(AuthName, Auth{}) }

// TagSchema is earlybird-tag's schema for Kong.
func TagSchema() schema.Schema { return schema.Of(TagName, Tag{}) }

// Schemas are the schemas of both plugins by name.
func Schemas() map[string]schema.Schema {
	return map[string]schema.Schema{AuthName: AuthSchema(), TagName: TagSchema()}
}

// ErrUnresolved reports that a field holds a vault reference which Kong could
// not resolve: Kong then sends an empty string in its place.
var ErrUnresolved = errors.New("the vault reference in redis_url could not be resolved by Kong")

// ErrNoRedisURL reports that neither redis_url nor the process's own file names
// the campaign's Redis.
var ErrNoRedisURL = errors.New("redis_url is not set and there is no -redis-url-file")

// ParseAuth reads the configuration Kong sends to earlybird-auth. Where Kong
// gives no URL of Redis, file is asked for one, and its error is returned when
// there is no better reason. The rest of the settings is usable then, as it is
// on ErrUnresolved and ErrNoRedisURL.
func ParseAuth(config []byte, file func() (string, error)) (Auth, error) {
	var a Auth
	if err := schema.Decode(config, &a); err != nil {
		return Auth{}, err
	}
	url, err := redisURL(config, a.RedisURL, file)
	a.RedisURL = url
	return a, err
}

// ParseTag is ParseAuth for earlybird-tag.
func ParseTag(config []byte, file func() (string, error)) (Tag, error) {
	var t Tag
	if err := schema.Decode(config, &t); err != nil {
		return Tag{}, err
	}
	url, err := redisURL(config, t.RedisURL, file)
	t.RedisURL = url
	return t, err
}

func redisURL(config []byte, given string, file func() (string, error)) (string, error) {
	if given != "" {
		return given, nil
	}
	url, fileErr := file()
	if url != "" {
		return url, nil
	}
	var sent struct {
		Refs any `json:"$refs"` // an empty Lua table may arrive as a list
	}
	if err := json.Unmarshal(config, &sent); err != nil {
		return "", fmt.Errorf("decode $refs: %w", err)
	}
	if refs, ok := sent.Refs.(map[string]any); ok && refs["redis_url"] != nil {
		return "", fmt.Errorf("%w (%v)", ErrUnresolved, refs["redis_url"])
	}
	if fileErr != nil {
		return "", fileErr
	}
	return "", ErrNoRedisURL
}
