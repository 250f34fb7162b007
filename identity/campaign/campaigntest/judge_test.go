package campaigntest

import (
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// A judge that finds nothing proves nothing: each lie and each broken log is found,
// and what is right is not.
func TestJudge(t *testing.T) {
	h := NewHistory("O", 1, 2) // start, open
	h.Entries[0].Settings.Waitlist = 1
	h.Arrive("a", 2)                                                   // 2: a1, a2
	pause := h.Add(campaign.Entry{Kind: campaign.KindPause, Limit: 2}) // 3
	h.Add(campaign.Entry{Kind: campaign.KindResume, Limit: 2})         // 4
	h.Arrive("b", 1)                                                   // 5: b1
	h.Add(campaign.Entry{Kind: campaign.KindVoid, User: "a1", Limit: 3})
	place := func(seq int64) campaign.Place { return campaign.Place{Epoch: h.Epoch, Seq: seq} }
	second := func(n int) time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(n) * time.Second) }
	call := func(user string, asked Asked, from, to int, status string, at campaign.Place, rank int64) *Call {
		return &Call{User: user, Asked: asked, Began: second(from), Ended: second(to), Status: status, Place: at, Rank: rank}
	}
	right := []*Call{
		call("a1", AskedLogin, 1, 3, "pending", place(2), 0), call("a2", AskedLogin, 2, 3, "pending", place(2), 0),
		call("b1", AskedLogin, 10, 12, "pending", place(5), 0),
	}
	for _, test := range []struct {
		name   string
		change func(log []campaign.Entry) []campaign.Entry
		call   *Call
		want   string // empty: no fault
	}{
		{name: "all is right"},
		{name: "a retry is never wrong", call: call("a1", AskedLogin, 20, 21, "retry", campaign.Place{}, 0)},
		{name: "granted, before the void", call: call("a1", AskedPromotion, 4, 5, "granted", campaign.Place{}, 1)},
		{name: "granted by an edge that is cut off", call: call("a1", AskedEdge, 90, 91, EdgeGranted, campaign.Place{}, 1)},
		{name: "the next in line", call: call("b1", AskedTag, 13, 14, "granted", place(6), 3)},
		{name: "another's rank", call: call("a1", AskedPromotion, 4, 5, "granted", campaign.Place{}, 2), want: "a1 was told granted"},
		{name: "granted without a place", call: call("c1", AskedEdge, 4, 5, EdgeGranted, campaign.Place{}, 1), want: "c1 was told granted"},
		{name: "granted before its time", call: call("b1", AskedTag, 10, 11, "ended", place(5), 0), want: "b1 was told ended"},
		{name: "pending without a place", call: call("c1", AskedLogin, 13, 14, "pending", place(5), 0), want: "c1 was told pending"},
		{name: "paused before the pause was asked for", call: call("c1", AskedLogin, 2, 3, "paused", campaign.Place{}, 0), want: "c1 was told paused"},
		{name: "open when it is full", call: call("c1", AskedPromotion, 20, 21, "none", campaign.Place{}, 0), want: "c1 was told none"},
		{name: "placed after one who came later", call: call("b1", AskedLogin, 0, 0, "pending", place(5), 0), want: "has position 3 behind"},
		{name: "a gap", change: func(l []campaign.Entry) []campaign.Entry { return append(l[:3:3], l[4:]...) }, want: "follows seq 2"},
		{name: "a place for a user twice", change: func(l []campaign.Entry) []campaign.Entry {
			l[5].Users = []string{"a1"}
			return l
		}, want: "a second place"},
		{name: "a login that nobody made", change: func(l []campaign.Entry) []campaign.Entry {
			l[5].Users = []string{"x1"}
			return l
		}, want: "has not logged in"},
		{name: "a limit that is wrong", change: func(l []campaign.Entry) []campaign.Entry { l[6].Limit = 2; return l }, want: "has limit 2, counted 3"},
		{name: "logins count during a pause", change: func(l []campaign.Entry) []campaign.Entry {
			l[4].Kind = campaign.KindChange
			return l
		}, want: "while the campaign is paused"},
		{name: "more places than there are", change: func(l []campaign.Entry) []campaign.Entry {
			l[5].Users = []string{"b1", "a3", "a4"}
			return l
		}, want: "beyond slots and waiting list"},
		{name: "a command whose entry is gone", change: func(l []campaign.Entry) []campaign.Entry { l[3].ID = "other"; return l }, want: "is not in the log"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := &Judge{commands: []*command{{id: pause.ID, began: second(5), ended: second(6)}}}
			for _, c := range right {
				own := *c
				j.calls = append(j.calls, &own)
			}
			if test.call != nil {
				j.calls = append(j.calls, test.call)
				if test.name == "placed after one who came later" { // b1 was answered before a2 began
					*j.calls[2] = *call("b1", AskedLogin, 0, 1, "pending", place(5), 0)
					*j.calls[1] = *call("a2", AskedLogin, 2, 3, "pending", place(2), 0)
				}
			}
			log := append([]campaign.Entry(nil), h.Entries...)
			if test.change != nil {
				log = test.change(log)
			}
			faults := strings.Join(j.Faults(log), "\n")
			if (faults != "") != (test.want != "") || !strings.Contains(faults, test.want) {
				t.Errorf("faults %q, want %q", faults, test.want)
			}
		})
	}
}
