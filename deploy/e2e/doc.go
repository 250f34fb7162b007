// Package e2e is the black-box journey: it creates accounts, logs in and reads
// the promotion through a gateway, with no knowledge of what is behind it.
//
// Without settings it builds the programs and starts a local stack of its own
// on free ports. With GATEWAY_URL it runs against that gateway, a real Kong
// included:
//
//	GATEWAY_URL            the gateway, such as http://127.0.0.1:8000
//	EARLYBIRD_MONGO_URL    the stores behind it, for a campaign of the
//	EARLYBIRD_REDIS_URL    journey's own; without them those of make run
//	E2E_RESET=1            end the campaign that is running there
//
// It waits where an answer says Retry-After, so it passes under the default
// limits.
package e2e
