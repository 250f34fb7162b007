// Package promotion tests the promotion on real servers: redis-server, alone,
// behind Sentinel and in a cluster; the embedded MongoDB; several identity
// replicas, as processes where one is killed; edges; and proxies that delay, lose
// and cut. What clients asked and were told is the judge, held against the log
// that was committed (campaigntest.Judge).
//
// The embedded MongoDB is alone and ignores read concerns. What elections do is
// for campaign's TestModel, on a replica set in memory.
//
// EARLYBIRD_HEAVY=1 runs more of it: more clients, more seeds.
package promotion
