// Package edge holds what both plugins need: the Earlybird header, the
// problems they answer with, and the sources they share within a process.
package edge

import (
	"fmt"

	"github.com/dunglas/httpsfv"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// Header is the one header's name, upstream and downstream. Its value is a
// structured-field dictionary (RFC 9651).
const Header = "Earlybird"

// Pending is the downstream header of a login whose claim cannot be told yet.
const Pending = "status=pending"

// Standing is what the upstream header says of a user's grant.
type Standing struct {
	Unknown    bool   // it cannot be told; the rest is empty
	CampaignID string // empty: no grant
	Rank       int64
	Discount   int64 // percent
}

// Upstream is the header for the services behind Kong: who the user is, by
// which token, and what is known of the grant. It is an error when a value has a
// character that the header cannot carry (RFC 9651 section 3.3.3).
func Upstream(user, tokenID string, s Standing) (string, error) {
	d := httpsfv.NewDictionary()
	d.Add("user", httpsfv.NewItem(user))
	d.Add("token", httpsfv.NewItem(tokenID))
	switch {
	case s.Unknown:
		d.Add("grant", httpsfv.NewItem(httpsfv.Token("unknown")))
	case s.CampaignID != "":
		addGrant(d, s.CampaignID, s.Rank, s.Discount)
	}
	return marshal(d)
}

// Downstream is the header of a successful login's response. An outcome that
// makes no sense, or cannot be carried, is Pending.
func Downstream(o campaign.Outcome) string {
	switch o.State {
	case campaign.StateGranted, campaign.StateFull, campaign.StateNone, campaign.StatePaused, campaign.StateEnded:
	default:
		return Pending
	}
	d := httpsfv.NewDictionary()
	d.Add("status", httpsfv.NewItem(httpsfv.Token(string(o.State))))
	if o.State == campaign.StateGranted {
		if o.CampaignID == "" || o.Rank < 1 {
			return Pending
		}
		addGrant(d, o.CampaignID, o.Rank, o.Discount)
	}
	value, err := marshal(d)
	if err != nil {
		return Pending
	}
	return value
}

func addGrant(d *httpsfv.Dictionary, campaignID string, rank, discount int64) {
	d.Add("campaign", httpsfv.NewItem(campaignID))
	d.Add("rank", httpsfv.NewItem(rank))
	d.Add("discount", httpsfv.NewItem(discount))
}

func marshal(d *httpsfv.Dictionary) (string, error) {
	value, err := httpsfv.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("write %s header: %w", Header, err)
	}
	return value, nil
}
