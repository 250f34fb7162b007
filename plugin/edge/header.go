// Package edge holds what both plugins need: the Earlybird header, the
// problem responses, and the pools of what a process shares between routes.
package edge

import (
	"fmt"
	"strconv"

	"github.com/dunglas/httpsfv"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/plugin/earlybird"
)

// Header is the one header's name, upstream and downstream. Its value is a
// structured-field dictionary (RFC 9651).
const Header = earlybird.Header

// Retry is the downstream header of a login that may not have counted.
const Retry = "status=retry"

// KnownGrant is a user's grant as the upstream header reports it.
type KnownGrant struct {
	Unknown bool         // not known now; the rest is empty
	Grant   mirror.Grant // zero: none
}

// Upstream is the header for the services behind Kong: who the user is, by
// which token, and the grant. It is an error when a value has a
// character that the header cannot carry (RFC 9651 section 3.3.3). No member is
// ever a Date: structured-headers 2.1.0, which services in Node use, fails on one
// that is not at the end.
func Upstream(user, tokenID string, g KnownGrant) (string, error) {
	d := httpsfv.NewDictionary()
	d.Add("user", httpsfv.NewItem(user))
	d.Add("token", httpsfv.NewItem(tokenID))
	switch {
	case g.Unknown:
		d.Add("grant", httpsfv.NewItem(httpsfv.Token("unknown")))
	case g.Grant != mirror.Grant{}:
		addGrant(d, g.Grant)
	}
	return marshal(d)
}

// Downstream is the header of a successful login's response. An outcome that
// makes no sense is written as campaign.StatusPending.
func Downstream(o mirror.Outcome) string {
	switch o.Status {
	case campaign.StatusFull, campaign.StatusNone, campaign.StatusPaused, campaign.StatusEnded, campaign.StatusRetry:
		return "status=" + string(o.Status)
	case campaign.StatusGranted:
		d := httpsfv.NewDictionary()
		d.Add("status", httpsfv.NewItem(httpsfv.Token(string(o.Status))))
		addGrant(d, mirror.Grant{Campaign: o.Campaign, Rank: o.Rank, Discount: o.Discount})
		if value, err := marshal(d); err == nil && o.Campaign > 0 && o.Rank > 0 {
			return value
		}
	case campaign.StatusPending:
	}
	return "status=" + string(campaign.StatusPending)
}

// ParsePlacement reads the header of the identity service's response to a login.
// What cannot be read is campaign.StatusRetry: then it is not known whether the
// login counted.
func ParsePlacement(value string) campaign.Placement {
	unknown := campaign.Placement{Status: campaign.StatusRetry}
	d, err := httpsfv.UnmarshalDictionary([]string{value})
	if err != nil {
		return unknown
	}
	member := func(name string) any {
		if m, ok := d.Get(name); ok {
			if item, ok := m.(httpsfv.Item); ok {
				return item.Value
			}
		}
		return nil
	}
	status, _ := member("status").(httpsfv.Token)
	switch s := campaign.Status(status); s {
	case campaign.StatusFull, campaign.StatusNone, campaign.StatusPaused, campaign.StatusEnded:
		return campaign.Placement{Status: s}
	case campaign.StatusPending:
		text, _ := member("place").(string)
		if place, err := campaign.ParsePlace(text); err == nil {
			return campaign.Placement{Status: s, Place: place}
		}
	case campaign.StatusGranted, campaign.StatusRetry:
	}
	return unknown
}

func addGrant(d *httpsfv.Dictionary, g mirror.Grant) {
	d.Add("campaign", httpsfv.NewItem(strconv.FormatInt(g.Campaign, 10)))
	d.Add("rank", httpsfv.NewItem(g.Rank))
	d.Add("discount", httpsfv.NewItem(g.Discount))
}

func marshal(d *httpsfv.Dictionary) (string, error) {
	value, err := httpsfv.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("write %s header: %w", Header, err)
	}
	return value, nil
}
