package campaign

import "time"

// Action is what an operator did to a campaign, for the audit log. Each is
// recorded twice: before it is done, and how it ended. The history of versions
// says what changed; this says who tried, also when nothing came of it.
type Action struct {
	At         time.Time
	By         string // who
	Name       string // as typed: "campaign start", "campaign restore", ...
	CampaignID string // empty when there is none
	Result     string // ResultBegun, ResultDone or ResultFailed
	Detail     string // what is to be done, what came of it, or what went wrong
}

// The results of an Action.
const (
	ResultBegun  = "begun"
	ResultDone   = "done"
	ResultFailed = "failed"
)
