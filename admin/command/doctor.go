package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/mongostore"
)

func doctorCommand() *cli.Command {
	return leaf("doctor", "look whether everything can be reached, and say what to do where it cannot",
		"earlybird doctor --gateway-url https://bank.example", runDoctor,
		readFlags(
			&cli.StringFlag{Name: "identity-url", Value: localIdentity, Usage: "`URL` of the identity service", EnvVars: []string{"EARLYBIRD_IDENTITY_URL"}},
			&cli.StringFlag{Name: "gateway-url", Value: localGateway, Usage: "`URL` of Kong", EnvVars: []string{"EARLYBIRD_GATEWAY_URL"}},
		)...)
}

func runDoctor(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := noArguments(c); err != nil {
		return err
	}
	web := doctor.Web{
		Client:      &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		IdentityURL: strings.TrimRight(c.String("identity-url"), "/"),
		GatewayURL:  strings.TrimRight(c.String("gateway-url"), "/"),
	}
	checks := append([]doctor.Check{mongoCheck(mongoConfig(c)), redisCheck(redisConfig(c))}, web.Checks()...)
	for i := range checks {
		checks[i].Target = shown(checks[i].Target)
	}
	return writeResults(c, f, doctor.Examine(c.Context, checks))
}

func mongoCheck(config mongostore.Config) doctor.Check {
	return doctor.Check{
		Name: "mongodb", Target: config.URL,
		Hint: "start it, or name another address with --mongo-url or EARLYBIRD_MONGO_URL (and --mongo-user, --mongo-password-file, --mongo-ca-file)",
		Look: func(ctx context.Context) (string, error) {
			store, err := mongostore.Open(ctx, config)
			if err != nil {
				return "", err
			}
			return "the primary answers", store.Close(context.WithoutCancel(ctx))
		},
	}
}

func redisCheck(config campaign.ConnectConfig) doctor.Check {
	return doctor.Check{
		Name: "redis", Target: config.URL,
		Hint: "start it, or name another address with --redis-url or EARLYBIRD_REDIS_URL (and --redis-password-file, --redis-ca-file)",
		Look: func(ctx context.Context) (string, error) { return lookAtRedis(ctx, config) },
	}
}

// lookAtRedis reads the campaign, which says more than a ping: whether the
// server is writable for scripts, and whether claims are open.
func lookAtRedis(ctx context.Context, config campaign.ConnectConfig) (string, error) {
	client, err := campaign.Connect(config)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }() // what was to be read is read
	s, err := campaign.NewBoard(client).Snapshot(ctx)
	switch {
	case err != nil:
		return "", err
	case !s.Exists:
		return "answers, and holds no campaign", nil
	case !s.Verified:
		return "", &doctor.Advised{
			Problem: "answers, but claims are closed: its data was not compared with the ledger since it started",
			Advice:  "identity does that within seconds: is one running, and does it reach this Redis?",
		}
	default:
		return fmt.Sprintf("answers, claims are open, campaign %s", s.Campaign.ID), nil
	}
}

var errFaults = errors.New("not everything is well")

func writeResults(c *cli.Context, f output.Format, results []doctor.Result) error {
	long := func(name string) output.Column { return output.Column{Name: name, Long: true} }
	list := output.List(c.App.Writer, f, output.Column{Name: "check"}, output.Column{Name: "ok"}, long("target"), long("detail"), long("hint"))
	well := true
	for _, r := range results {
		well = well && r.OK
		if err := list.Row(r.Check, r.OK, r.Target, r.Detail, r.Hint); err != nil {
			return err
		}
	}
	if err := list.Close(); err != nil {
		return err
	}
	if !well {
		return withHint(errFaults, "the lines above with ok = false say what to do")
	}
	return nil
}
