package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

// errDifferences reports that an audit found something.
var errDifferences = errors.New("the audit found differences")

// campaignAudit proves a campaign, or names what is wrong with it.
func campaignAudit(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		cfg := keeper.AuditConfig{Ledger: s.mongo, Board: campaign.NewBoard(s.redis), Logins: s.mongo}
		report, err := keeper.Audit(c.Context, cfg, c.String("campaign"))
		if err != nil {
			return noSuchCampaign(err, c.String("campaign"))
		}
		slices.SortFunc(report.Findings, func(a, b keeper.Finding) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Detail, b.Detail))
		})
		if err := writeReport(c, f, report); err != nil {
			return err
		}
		if n := len(report.Findings); n > 0 {
			return withHint(fmt.Errorf("%w: %d", errDifferences, n), "deploy/docs/operations.md says of each kind what it means and what to do")
		}
		return nil
	})
}

func writeReport(c *cli.Context, f output.Format, r keeper.Report) error {
	switch f {
	case output.JSON:
		return writeReportJSON(c, r)
	case output.CSV:
		return writeFindings(c, f, r)
	case output.Table:
	}
	_, err := fmt.Fprintf(c.App.Writer, "Campaign %s %q: %d of %d slots granted and %d waiting in the ledger; %d places in Redis, %d on their way to the ledger.\n",
		r.Campaign.ID, r.Campaign.Name, r.Granted, r.Campaign.Slots, r.Waiting, r.Live, r.OnTheWay)
	if err != nil {
		return err
	}
	if len(r.Findings) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, "No differences.")
		return err
	}
	return writeFindings(c, f, r)
}

func writeFindings(c *cli.Context, f output.Format, r keeper.Report) error {
	list := output.List(c.App.Writer, f, columns("kind user_id detail")...)
	for _, d := range r.Findings {
		if err := list.Row(string(d.Kind), d.UserID, d.Detail); err != nil {
			return err
		}
	}
	return list.Close()
}

// finding is a difference in JSON.
type finding struct {
	Kind   string `json:"kind"`
	UserID string `json:"user_id"`
	Detail string `json:"detail"`
}

func writeReportJSON(c *cli.Context, r keeper.Report) error {
	found := make([]finding, len(r.Findings))
	for i, d := range r.Findings {
		found[i] = finding{string(d.Kind), d.UserID, d.Detail}
	}
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		Campaign string    `json:"campaign"`
		OK       bool      `json:"ok"`
		Granted  int64     `json:"granted"`
		Waiting  int64     `json:"waiting"`
		Live     int64     `json:"live"`
		OnTheWay int64     `json:"on_the_way"`
		Findings []finding `json:"findings"`
	}{r.Campaign.ID, len(found) == 0, r.Granted, r.Waiting, r.Live, r.OnTheWay, found})
}
