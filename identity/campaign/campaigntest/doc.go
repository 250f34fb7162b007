// Package campaigntest has a replica set and a Redis in memory, which fail in
// every way that the log of campaigns must bear, and the suites that hold every
// campaign.Store and campaign.Mirror to its contract.
package campaigntest
