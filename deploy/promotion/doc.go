// Package promotion tests the promotion on real servers: redis-server, alone,
// behind Sentinel and in a cluster; the embedded MongoDB; several identity
// replicas, as separate processes where a test kills one; edges; and proxies that
// delay, drop and cut connections. campaigntest.Judge compares what clients asked
// and what they were answered with the committed log.
//
// The embedded MongoDB is a single server and ignores read concerns. Elections are
// tested by campaign's TestModel, on an in-memory replica set.
//
// EARLYBIRD_HEAVY=1 runs more of it: more clients, more seeds.
package promotion
