package kong

// What Kong 3.9 calls the members of a file and its plugins, from
// kong/constants.lua and kong/db/declarative of its source.
var (
	topLevel = []string{
		"_format_version", "_transform", "_comment", "_ignore", "_workspace",
		"services", "routes", "plugins", "upstreams", "targets", "consumers", "certificates",
		"ca_certificates", "snis", "vaults", "keys", "key_sets", "filter_chains", "parameters",
		"tags", "workspaces", "acls", "acme_storage", "basicauth_credentials", "hmacauth_credentials",
		"jwt_secrets", "keyauth_credentials", "oauth2_authorization_codes", "oauth2_credentials",
		"oauth2_tokens", "sessions",
	}

	// judged are the members of the top level that are checked.
	judged = []string{"_format_version", "_comment", "services", "routes", "plugins", "upstreams", "targets"}

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
