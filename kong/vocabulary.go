package kong

import "slices"

// What Kong 3.9 calls its entities and their fields, from kong/constants.lua
// and kong/db/schema/entities of its source.
var (
	topLevel = []string{
		"_format_version", "_transform", "_comment", "_ignore", "_workspace",
		"services", "routes", "plugins", "upstreams", "targets", "consumers", "certificates",
		"ca_certificates", "snis", "vaults", "keys", "key_sets", "filter_chains", "parameters",
		"tags", "workspaces", "acls", "acme_storage", "basicauth_credentials", "hmacauth_credentials",
		"jwt_secrets", "keyauth_credentials", "oauth2_authorization_codes", "oauth2_credentials",
		"oauth2_tokens", "sessions",
	}

	common = []string{"id", "created_at", "updated_at", "tags", "_comment", "_ignore"}

	serviceFields = slices.Concat([]string{
		"name", "url", "protocol", "host", "port", "path", "retries", "connect_timeout", "write_timeout",
		"read_timeout", "client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates",
		"enabled", "routes", "plugins",
	}, common)

	routeFields = slices.Concat([]string{
		"name", "protocols", "methods", "hosts", "paths", "headers", "snis", "sources", "destinations",
		"https_redirect_status_code", "regex_priority", "strip_path", "path_handling", "preserve_host",
		"request_buffering", "response_buffering", "expression", "priority", "service", "plugins",
	}, common)

	pluginFields = slices.Concat([]string{
		"name", "instance_name", "config", "enabled", "protocols", "service", "route", "consumer",
	}, common)

	upstreamFields = slices.Concat([]string{
		"name", "algorithm", "hash_on", "hash_fallback", "hash_on_header", "hash_fallback_header",
		"hash_on_cookie", "hash_on_cookie_path", "hash_on_query_arg", "hash_fallback_query_arg",
		"hash_on_uri_capture", "hash_fallback_uri_capture", "slots", "healthchecks", "host_header",
		"client_certificate", "use_srv_name", "targets",
	}, common)

	targetFields = slices.Concat([]string{"target", "weight", "upstream"}, common)

	protocols = []string{"http", "https", "grpc", "grpcs", "tcp", "tls", "tls_passthrough", "udp", "ws", "wss"}

	// matchers are the fields by which a route can match; it needs one.
	matchers = []string{"methods", "hosts", "headers", "paths", "snis", "sources", "destinations", "expression"}

	// bundled are the plugins that come with Kong.
	bundled = []string{
		"acl", "acme", "ai-prompt-decorator", "ai-prompt-guard", "ai-prompt-template", "ai-proxy",
		"ai-request-transformer", "ai-response-transformer", "aws-lambda", "azure-functions",
		"basic-auth", "bot-detection", "correlation-id", "cors", "datadog", "file-log", "grpc-gateway",
		"grpc-web", "hmac-auth", "http-log", "ip-restriction", "jwt", "key-auth", "ldap-auth", "loggly",
		"oauth2", "opentelemetry", "post-function", "pre-function", "prometheus", "proxy-cache",
		"rate-limiting", "redirect", "request-size-limiting", "request-termination",
		"request-transformer", "response-ratelimiting", "response-transformer", "session",
		"standard-webhooks", "statsd", "syslog", "tcp-log", "udp-log", "zipkin",
	}
)
