package command

import (
	"errors"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/program"
)

func doctorCommand() *cli.Command {
	return leaf("doctor", "check that everything can be reached and is set up as it must be, and say what to do where it is not",
		"earlybird doctor --gateway-url https://bank.example", runDoctor, readFlags(doctorFlags()...)...)
}

// doctorFlags say where the doctor looks, beside the stores.
func doctorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "identity-url", Value: localIdentity, Usage: "`URL` of the identity service", EnvVars: []string{"EARLYBIRD_IDENTITY_URL"}},
		&cli.StringFlag{Name: "audit-retention", Value: "400d", Usage: "identity's `DURATION` for which login attempts are kept, to compare with what MongoDB does", EnvVars: []string{"EARLYBIRD_AUDIT_RETENTION"}},
		&cli.StringFlag{Name: "gateway-url", Value: localGateway, Usage: "`URL` of Kong", EnvVars: []string{"EARLYBIRD_GATEWAY_URL"}},
	}
}

func runDoctor(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := noArguments(c); err != nil {
		return err
	}
	checks, err := doctorChecks(c)
	if err != nil {
		return err
	}
	return writeResults(c, f, doctor.Examine(c.Context, checks))
}

// doctorChecks are all checks, with targets that hold no secret.
func doctorChecks(c *cli.Context) ([]doctor.Check, error) {
	mongo := mongoConfig(c)
	var err error
	if mongo.AuditRetention, err = program.ParseDays(c.String("audit-retention")); err != nil {
		return nil, usage("--audit-retention (EARLYBIRD_AUDIT_RETENTION): %v", err)
	}
	web := doctor.Web{
		Client:      &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		IdentityURL: strings.TrimRight(c.String("identity-url"), "/"),
		GatewayURL:  strings.TrimRight(c.String("gateway-url"), "/"),
	}
	checks := append([]doctor.Check{mongoCheck(mongo), redisCheck(mongo, redisConfig(c))}, web.Checks()...)
	for i := range checks {
		checks[i].Target = shown(checks[i].Target)
	}
	return checks, nil
}

var errFaults = errors.New("not everything is well")

func writeResults(c *cli.Context, f output.Format, results []doctor.Result) error {
	long := func(name string) output.Column { return output.Column{Name: name, Long: true} }
	list := output.List(c.App.Writer, f, output.Column{Name: "check"}, output.Column{Name: "ok"}, output.Column{Name: "level"}, long("target"), long("detail"), long("hint"))
	well := true
	for _, r := range results {
		well = well && r.OK
		if err := list.Row(r.Check, r.OK, r.Level(), r.Target, r.Detail, r.Hint); err != nil {
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
