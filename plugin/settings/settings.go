// Package settings holds the configuration of the two plugins: its schema, which
// Kong and the check of kong.yml use, and the values that the plugins run with.
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

// common is what both plugins' configurations have.
type common struct {
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	JWKSURL  string `json:"jwks_url"`
	RedisURL string `json:"redis_url"`
	Leeway   int    `json:"leeway"` // seconds
}

// LeewayDuration is Leeway as a duration.
func (c common) LeewayDuration() time.Duration { return time.Duration(c.Leeway) * time.Second }

// Auth is the configuration of earlybird-auth.
type Auth struct {
	common
	// AlsoAudience is set on the route that changes a password, and there alone.
	AlsoAudience string `json:"also_audience"`
	// Revocation is RevocationRequired or RevocationOptional.
	Revocation string `json:"revocation"`
	BeatMaxAge int    `json:"beat_max_age"` // seconds
	CacheSize  int    `json:"cache_size"`
}

// BeatMaxAgeDuration is BeatMaxAge as a duration.
func (a Auth) BeatMaxAgeDuration() time.Duration { return time.Duration(a.BeatMaxAge) * time.Second }

// The values of Auth.Revocation.
const (
	RevocationRequired = "required"
	RevocationOptional = "optional"
)

// Tag is the configuration of earlybird-tag.
type Tag struct {
	common
	ClaimTimeout int `json:"claim_timeout"` // milliseconds
}

// ClaimTimeoutDuration is ClaimTimeout as a duration.
func (t Tag) ClaimTimeoutDuration() time.Duration {
	return time.Duration(t.ClaimTimeout) * time.Millisecond
}

// The fields of both plugins.
var (
	issuer = schema.Field{Name: "issuer", Spec: schema.Spec{
		Type: "string", Required: true,
		Description: "The iss claim a token must have: the identity service's --issuer.",
	}}
	audience = schema.Field{Name: "audience", Spec: schema.Spec{
		Type: "string", Required: true, Default: "earlybird",
		Description: "The aud claim a token must have: the identity service's --audience.",
	}}
	jwksURL = schema.Field{Name: "jwks_url", Spec: schema.Spec{
		Type: "string", Required: true, Match: "^https?://",
		Description: "Where the public keys are: the identity service's /.well-known/jwks.json.",
	}}
	redisURL = schema.Field{Name: "redis_url", Spec: schema.Spec{
		Type: "string", Match: "^rediss?://", Encrypted: true, Referenceable: true,
		Description: "The campaign's Redis, redis:// or rediss:// with password. Unset: the file of the plugin's -redis-url-file.",
	}}
	leeway = schema.Field{Name: "leeway", Spec: schema.Spec{
		Type: "integer", Required: true, Default: 5, Between: []int64{0, 60},
		Description: "Seconds by which the clocks of issuer and edge may differ.",
	}}
)

// AuthSchema is earlybird-auth's schema for Kong. It has the fields of Auth.
func AuthSchema() schema.Schema {
	return schema.Of(AuthName, issuer, audience,
		schema.Field{Name: "also_audience", Spec: schema.Spec{
			Type:        "string",
			Description: "Another aud claim a token may have instead: <audience>/password on the route that changes a password, which is all that a one-time password opens.",
		}},
		jwksURL, redisURL, leeway,
		schema.Field{Name: "revocation", Spec: schema.Spec{
			Type: "string", Required: true, Default: RevocationRequired, OneOf: []string{RevocationRequired, RevocationOptional},
			Description: "What to do until it is known which tokens were revoked: required answers 503, optional lets tokens pass that may have been revoked.",
		}},
		schema.Field{Name: "beat_max_age", Spec: schema.Spec{
			Type: "integer", Required: true, Default: 15, Between: []int64{2, 300},
			Description: "Seconds after which, without a sign that the campaign in Redis is complete, a user without a grant is told grant=unknown. Longer than an election of MongoDB.",
		}},
		schema.Field{Name: "cache_size", Spec: schema.Spec{
			Type: "integer", Required: true, Default: 100_000, Between: []int64{1, 10_000_000},
			Description: "How many verified tokens each plugin process remembers.",
		}},
	)
}

// TagSchema is earlybird-tag's schema for Kong. It has the fields of Tag.
func TagSchema() schema.Schema {
	return schema.Of(TagName, issuer, audience, jwksURL, redisURL, leeway,
		schema.Field{Name: "claim_timeout", Spec: schema.Spec{
			Type: "integer", Required: true, Default: 250, Between: []int64{10, 5000},
			Description: "Milliseconds for which the rank of a login is looked up; then the login is answered with status pending.",
		}},
	)
}

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
	if err := AuthSchema().Decode(config, &a); err != nil {
		return Auth{}, err
	}
	return a, a.findRedis(config, file)
}

// ParseTag is ParseAuth for earlybird-tag.
func ParseTag(config []byte, file func() (string, error)) (Tag, error) {
	var t Tag
	if err := TagSchema().Decode(config, &t); err != nil {
		return Tag{}, err
	}
	return t, t.findRedis(config, file)
}

func (c *common) findRedis(config []byte, file func() (string, error)) error {
	if c.RedisURL != "" {
		return nil
	}
	url, fileErr := file()
	if c.RedisURL = url; url != "" {
		return nil
	}
	var sent struct {
		Refs any `json:"$refs"` // an empty Lua table may arrive as a list
	}
	if err := json.Unmarshal(config, &sent); err != nil {
		return fmt.Errorf("decode $refs: %w", err)
	}
	if refs, ok := sent.Refs.(map[string]any); ok && refs["redis_url"] != nil {
		return fmt.Errorf("%w (%v)", ErrUnresolved, refs["redis_url"])
	}
	if fileErr != nil {
		return fileErr
	}
	return ErrNoRedisURL
}
