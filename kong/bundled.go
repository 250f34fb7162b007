package kong

import (
	"regexp"
	"strings"

	"github.com/earlybird/earlybird/plugin/schema"
)

// bundledConfigs are the configs of the plugins that come with Kong 3.9 and
// that kong.yml uses, held against kong/plugins/*/schema.lua of its source. Of
// other bundled plugins only the name is known.
var bundledConfigs = map[string]schema.Spec{
	"correlation-id": record(
		field("header_name", ofType("string")),
		field("generator", oneOf("uuid", "uuid#counter", "tracker")),
		field("echo_downstream", ofType("boolean")),
	),
	"rate-limiting": rateLimiting(),
	"request-size-limiting": record(
		field("allowed_payload_size", ofType("integer")),
		field("size_unit", oneOf("megabytes", "kilobytes", "bytes")),
		field("require_content_length", ofType("boolean")),
	),
	"pre-function": record(
		field("certificate", functions), field("rewrite", functions), field("access", functions),
		field("header_filter", functions), field("body_filter", functions), field("log", functions),
	),
	"prometheus": record(
		field("per_consumer", ofType("boolean")),
		field("status_code_metrics", ofType("boolean")),
		field("ai_metrics", ofType("boolean")),
		field("latency_metrics", ofType("boolean")),
		field("bandwidth_metrics", ofType("boolean")),
		field("upstream_health_metrics", ofType("boolean")),
	),
}

// httpOnly are the plugins of bundledConfigs that run for HTTP alone.
var httpOnly = map[string]bool{"correlation-id": true, "rate-limiting": true, "request-size-limiting": true}

// periods are the windows of rate-limiting, the shortest first.
var periods = []string{"second", "minute", "hour", "day", "month", "year"}

func rateLimiting() schema.Spec {
	above := schema.Spec{Type: "number", Gt: new(0.0)}
	config := record(
		field("limit_by", oneOf("consumer", "credential", "ip", "service", "header", "path")),
		field("header_name", text(headerName)),
		field("path", text(urlPath)),
		field("policy", described("the policy cluster needs a database", oneOf("local", "redis"))),
		field("fault_tolerant", ofType("boolean")),
		field("redis", redisConfig()),
		field("hide_client_headers", ofType("boolean")),
		field("error_code", above),
		field("error_message", ofType("string")),
		field("sync_rate", ofType("number")),
	)
	for _, period := range periods {
		config.Fields = append(config.Fields, field(period, above))
	}
	for _, f := range redisConfig().Fields { // the old names, which still work
		f.Name = "redis_" + f.Name
		config.Fields = append(config.Fields, f)
	}
	config.CustomValidator = rateLimitingRules
	return config
}

func redisConfig() schema.Spec {
	secret := schema.Spec{Type: "string", Referenceable: true, Encrypted: true, LenMin: new(0)}
	return record(
		field("host", text(host)), field("port", integer(0, 65535)), field("timeout", integer(0, maxMilliseconds)),
		field("username", schema.Spec{Type: "string", Referenceable: true}), field("password", secret),
		field("database", ofType("integer")), field("ssl", ofType("boolean")), field("ssl_verify", ofType("boolean")),
		field("server_name", text(wildcardHost)),
	)
}

func rateLimitingRules(v any) string {
	values := v.(map[string]any)
	least, set := 0.0, ""
	for _, period := range periods {
		limit, given := schema.Number(values[period])
		if !given {
			continue
		}
		if set != "" && limit < least {
			return "the limit for " + period + " cannot be lower than the limit for " + set
		}
		least, set = limit, period
	}
	redis, _ := values["redis"].(map[string]any)
	rate, synced := schema.Number(values["sync_rate"])
	synced = synced && rate != -1
	switch {
	case set == "":
		return "at least one of these fields must be non-empty: " + strings.Join(periods, ", ")
	case is(values, "policy", "redis") && redis["host"] == nil && values["redis_host"] == nil:
		return "redis.host: required field missing"
	case synced && !is(values, "policy", "redis"):
		return "sync_rate can only be used with the redis policy"
	case synced && rate < 0.02:
		return "sync_rate must be greater than 0.02, or -1 to disable"
	case is(values, "limit_by", "header") && values["header_name"] == nil:
		return "header_name: required field missing"
	case is(values, "limit_by", "path") && values["path"] == nil:
		return "path: required field missing"
	}
	return ""
}

// functions is Lua code, which Kong alone can judge.
var functions = arrayOf(ofType("string"))

// clearHeader is the one function that kong.yml has.
var clearHeader = regexp.MustCompile(`^kong\.service\.request\.clear_header\("([a-zA-Z0-9_-]+)"\)$`)

// ClearedHeader returns the name of the request header that Lua code removes,
// when the code is kong.service.request.clear_header("NAME") and nothing else.
func ClearedHeader(code string) (name string, ok bool) {
	match := clearHeader.FindStringSubmatch(strings.TrimSpace(code))
	if match == nil {
		return "", false
	}
	return match[1], true
}
