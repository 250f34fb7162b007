// Package campaigntest holds an in-memory replica set and an in-memory Redis, which
// can fail in every way that the log of campaigns must survive, and the suites that
// test the contracts of campaign.Store and campaign.Mirror.
package campaigntest
