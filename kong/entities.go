package kong

import "github.com/earlybird/earlybird/plugin/schema"

// What Kong 3.9 takes for the fields of its entities, held against
// kong/db/schema/entities of its source. What refers to another entity, and the
// lists of entities within entities, are checked by the checker itself.

// protocols are those of Kong without an enterprise licence.
var protocols = []string{"http", "https", "grpc", "grpcs", "tcp", "tls", "tls_passthrough", "udp"}

// httpProtocols are those of plugins that read requests.
var httpProtocols = []string{"grpc", "grpcs", "http", "https"}

func field(name string, spec schema.Spec) schema.Field { return schema.Field{Name: name, Spec: spec} }

func ofType(kind string) schema.Spec { return schema.Spec{Type: kind} }

func required(spec schema.Spec) schema.Spec {
	spec.Required = true
	return spec
}

func described(description string, spec schema.Spec) schema.Spec {
	spec.Description = description
	return spec
}

func oneOf(choices ...string) schema.Spec {
	spec := ofType("string")
	for _, c := range choices {
		spec.OneOf = append(spec.OneOf, c)
	}
	return spec
}

func integer(least, greatest int64) schema.Spec {
	return schema.Spec{Type: "integer", Between: []int64{least, greatest}}
}

func number(least, greatest int64) schema.Spec {
	return schema.Spec{Type: "number", Between: []int64{least, greatest}}
}

// text is a string that valid has nothing to say about.
func text(valid func(string) string) schema.Spec {
	return schema.Spec{Type: "string", CustomValidator: func(v any) string { return valid(v.(string)) }}
}

func setOf(elements schema.Spec) schema.Spec { return schema.Spec{Type: "set", Elements: &elements} }

func arrayOf(elements schema.Spec) schema.Spec {
	return schema.Spec{Type: "array", Elements: &elements}
}

func record(fields ...schema.Field) schema.Spec { return schema.Spec{Type: "record", Fields: fields} }

// headers maps names to lists of values.
func headers(name func(string) string) schema.Spec {
	keys, values := text(name), arrayOf(ofType("string"))
	return schema.Spec{Type: "map", Keys: &keys, Values: &values}
}

// entity is a record with the fields that all entities have.
func entity(rules func(v any) string, fields ...schema.Field) schema.Spec {
	spec := record(append(fields,
		field("id", text(uuid)), field("created_at", ofType("number")), field("updated_at", ofType("number")),
		field("tags", setOf(text(tag))), field("_comment", ofType("string")), field("_ignore", ofType("array")))...)
	spec.CustomValidator = rules
	return spec
}

// maxMilliseconds is the longest timeout.
const maxMilliseconds = 1<<31 - 2

var serviceEntity = entity(serviceRules,
	field("name", text(entityName)),
	field("url", text(serviceURL)),
	field("protocol", oneOf(protocols...)),
	field("host", described("a host name or the name of an upstream", text(host))),
	field("port", integer(0, 65535)),
	field("path", text(urlPath)),
	field("retries", integer(0, 32767)),
	field("connect_timeout", described("milliseconds", integer(1, maxMilliseconds))),
	field("write_timeout", described("milliseconds", integer(1, maxMilliseconds))),
	field("read_timeout", described("milliseconds", integer(1, maxMilliseconds))),
	field("client_certificate", ofType("foreign")),
	field("tls_verify", ofType("boolean")),
	field("tls_verify_depth", integer(0, 64)),
	field("ca_certificates", arrayOf(text(uuid))),
	field("enabled", ofType("boolean")),
)

// Kong's default router has neither expression nor priority.
var routeEntity = entity(routeRules,
	field("name", text(entityName)),
	field("protocols", schema.Spec{Type: "set", Elements: new(oneOf(protocols...)), LenMin: new(1)}),
	field("methods", setOf(described("in capitals, such as GET", text(method)))),
	field("hosts", arrayOf(text(wildcardHost))),
	field("paths", arrayOf(text(routePath))),
	field("headers", headers(routeHeader)),
	field("snis", setOf(text(wildcardHost))),
	field("sources", setOf(peer)),
	field("destinations", setOf(peer)),
	field("https_redirect_status_code", schema.Spec{Type: "integer", OneOf: []any{426, 301, 302, 307, 308}}),
	field("regex_priority", ofType("integer")),
	field("strip_path", ofType("boolean")),
	field("path_handling", oneOf("v0", "v1")),
	field("preserve_host", ofType("boolean")),
	field("request_buffering", ofType("boolean")),
	field("response_buffering", ofType("boolean")),
	field("service", ofType("foreign")),
)

var peer = record(field("ip", text(addressOrNetwork)), field("port", integer(0, 65535)))

var pluginEntity = entity(nil,
	field("name", required(ofType("string"))),
	field("instance_name", text(entityName)),
	field("config", ofType("record")), // its fields are the plugin's own; see checker.plugin
	field("enabled", ofType("boolean")),
	field("protocols", setOf(oneOf(protocols...))),
	field("service", ofType("foreign")),
	field("route", ofType("foreign")),
	field("consumer", ofType("foreign")),
)

var hashOn = oneOf("none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture")

var upstreamEntity = entity(upstreamRules,
	field("name", required(described("the name that a service's host refers to", text(upstreamHost)))),
	field("algorithm", oneOf("consistent-hashing", "least-connections", "round-robin", "latency")),
	field("hash_on", hashOn),
	field("hash_fallback", hashOn),
	field("hash_on_header", text(headerName)),
	field("hash_fallback_header", text(headerName)),
	field("hash_on_cookie", ofType("string")),
	field("hash_on_cookie_path", text(urlPath)),
	field("hash_on_query_arg", ofType("string")),
	field("hash_fallback_query_arg", ofType("string")),
	field("hash_on_uri_capture", ofType("string")),
	field("hash_fallback_uri_capture", ofType("string")),
	field("slots", integer(10, 1<<16)),
	field("healthchecks", healthchecks),
	field("host_header", text(hostPort)),
	field("client_certificate", ofType("foreign")),
	field("use_srv_name", ofType("boolean")),
)

var (
	checkType = oneOf("tcp", "http", "https", "grpc", "grpcs")
	statuses  = arrayOf(integer(100, 999))
	count     = integer(0, 255)
	seconds   = described("seconds", number(0, 65535))
)

var healthchecks = record(
	field("active", record(
		field("type", checkType),
		field("timeout", seconds),
		field("concurrency", integer(1, 1<<31)),
		field("http_path", text(urlPath)),
		field("https_sni", text(wildcardHost)),
		field("https_verify_certificate", ofType("boolean")),
		field("headers", headers(headerName)),
		field("healthy", record(field("interval", seconds), field("http_statuses", statuses), field("successes", count))),
		field("unhealthy", record(field("interval", seconds), field("http_statuses", statuses),
			field("tcp_failures", count), field("timeouts", count), field("http_failures", count))),
	)),
	field("passive", record(
		field("type", checkType),
		field("healthy", record(field("http_statuses", statuses), field("successes", count))),
		field("unhealthy", record(field("http_statuses", statuses),
			field("tcp_failures", count), field("timeouts", count), field("http_failures", count))),
	)),
	field("threshold", number(0, 100)),
)

var targetEntity = entity(nil,
	field("target", required(described("a host and port, such as identity:8081", text(hostPort)))),
	field("weight", integer(0, 65535)),
	field("upstream", ofType("foreign")),
)
