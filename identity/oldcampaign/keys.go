package campaign

// The keys in Redis. All carry one hash tag, so that one script may use them
// together on Redis Cluster.
const (
	KeyCampaign = "earlybird:{earlybird}:campaign" // hash: the settings, last, run_id
	KeyArrivals = "earlybird:{earlybird}:arrivals" // sorted set: user id by order of first login
	KeyOutbox   = "earlybird:{earlybird}:outbox"   // stream: arrivals, grants, changes of the campaign
	keyStaging  = "earlybird:{earlybird}:staging:" // what a restore prepares, by its token
)

// The types of entries in the outbox. When it happened is in an entry's id.
const (
	EntryArrival  = "arrival"  // campaign, user, position: on the waiting list
	EntryGrant    = "grant"    // campaign, user, rank: at the first login, when slots were raised, or by a restore
	EntryCampaign = "campaign" // campaign, version: the settings changed
	EntryRestored = "restored" // campaign: arrivals were rebuilt, forget what you know of them
)
