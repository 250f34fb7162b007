// Package claim holds the benchmark of the claim: `make bench-claim` measures
// claims on a real redis-server beside a script that does nothing.
package claim
