package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// recorded does something on record: an entry in MongoDB's log of actions and
// a log line before it, and both again when it has ended. What cannot be
// recorded is not done. The context that do gets does not end with Ctrl-C: what
// is begun is finished.
func recorded(c *cli.Context, s *stores, name, campaignID string, do func(context.Context) (detail string, err error)) error {
	ctx := context.WithoutCancel(c.Context)
	log := slog.New(slog.NewTextHandler(c.App.ErrWriter, nil)).With("action", name, "campaign", campaignID, "by", s.by)
	record := func(result, detail string) error {
		return s.mongo.RecordCampaignAction(ctx, campaign.Action{
			At: time.Now().UTC().Truncate(time.Millisecond), By: s.by, Name: name, CampaignID: campaignID, Result: result, Detail: detail,
		})
	}
	if err := c.Err(); err != nil {
		return err
	}
	if err := record(campaign.ResultBegun, ""); err != nil {
		return fmt.Errorf("nothing was changed, for it cannot be recorded: %w", err)
	}
	log.InfoContext(ctx, "action begun")
	result, detail, err := campaign.ResultDone, "", error(nil)
	if detail, err = do(ctx); err != nil {
		result, detail = campaign.ResultFailed, err.Error()
		log.ErrorContext(ctx, "action failed", "err", err)
	} else {
		log.InfoContext(ctx, "action done", "detail", detail)
	}
	if err := record(result, detail); err != nil {
		log.WarnContext(ctx, "the end of the action was not recorded", "result", result, "err", err)
	}
	return err
}

func asFlag() cli.Flag {
	return &cli.StringFlag{Name: "as", Usage: "`WHO` makes the change, for the record (default: this account and machine)", EnvVars: []string{"EARLYBIRD_ADMIN"}}
}

// maxWho is the longest name, in characters, that is put on record.
const maxWho = 100

// who names who is at work: --as, EARLYBIRD_ADMIN, or user@host.
func who(c *cli.Context) (string, error) {
	name := c.String("as")
	switch {
	case !c.IsSet("as"):
		return operator(), nil
	case strings.TrimSpace(name) == "":
		return "", usage("--as: is empty: say who you are, such as alice@bank.example")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || utf8.RuneCountInString(name) > maxWho:
		return "", usage("--as: must be at most %d characters, without control characters", maxWho)
	}
	return name, nil
}

// operator names the account and the machine: user@host.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}
