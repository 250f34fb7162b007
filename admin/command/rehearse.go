package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/admin/rehearse"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/token"
)

const (
	// drains is how long after the last user was due users may still try.
	drains = 30 * time.Minute
	// spare is how long after that the rehearsal's campaign ends by the clock, if
	// this program was killed and could not end it.
	spare = 5 * time.Minute
	// ending is how long the program tries to end the campaign.
	ending = time.Minute
	// atOnce is how many accounts are looked up, or removed, at once.
	atOnce = 16
)

func rehearseCommand() *cli.Command {
	l := leaf("rehearse", "play launch day against a system that is not in use, and measure it",
		"earlybird rehearse --gateway https://bank.example --users 5000 --rate 200/s --clean --html rehearsal.html", runRehearse,
		changeFlags(
			&cli.StringFlag{Name: "gateway", Value: localGateway, Usage: "`URL` that clients use", EnvVars: []string{"EARLYBIRD_GATEWAY_URL"}},
			&cli.StringFlag{Name: "users", Usage: "`NUMBER` of accounts to register and to log in"},
			&cli.StringFlag{Name: "accounts", Usage: "`FILE` of existing accounts, in place of --users: lines of username,password"},
			&cli.StringFlag{Name: "rate", Usage: "`RATE` at which users come, such as 200/s"},
			&cli.BoolFlag{Name: "at-once", Usage: "all users come at one moment, in place of --rate"},
			&cli.StringFlag{Name: "slots", Value: "100", DefaultText: "100", Usage: "`NUMBER` of users who get a slot"},
			&cli.StringFlag{Name: "addresses", Usage: "`NETWORK` that users come from, such as 10.9.0.0/16, where the gateway trusts this machine's X-Forwarded-For"},
			&cli.StringFlag{Name: "replicas", Value: "1", DefaultText: "1", Usage: "`NUMBER` of replicas that identity has now"},
			&cli.StringFlag{Name: "cores", Usage: "`NUMBER` of cores that each replica has, to work out how many the launch needs"},
			&cli.StringFlag{Name: "html", Usage: "`FILE` to write the report to, with plots"},
			&cli.BoolFlag{Name: "clean", Usage: "remove the accounts afterwards"},
		)...)
	l.Description += `

It registers accounts, starts a campaign of its own, lets the users log in, and
ends it. Ctrl-C ends it early, and it reports what it has measured. The campaign
stays in the log, marked as a rehearsal.`
	return l
}

// rehearsal is one run of the command.
type rehearsal struct {
	*stores
	c        *cli.Context
	client   *rehearse.Client
	play     rehearse.Play
	settings campaign.Settings
	prefix   string // of the names of the accounts that are registered; "": they exist
	number   int64  // of its campaign, once that has started
}

func runRehearse(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	r := &rehearsal{c: c}
	if err := r.read(); err != nil {
		return err
	}
	if c.IsSet("html") {
		if err := mayReplace(c, c.String("html")); err != nil {
			return err
		}
	}
	return withStores(c, func(s *stores) error {
		r.stores = s
		log, err := r.check()
		if err != nil {
			return err
		}
		if err := confirm(c, "%s", r.announcement(log)); err != nil {
			return err
		}
		err = r.perform(log)
		if r.play.Seen.Visits == nil { // nobody came
			return err
		}
		return errors.Join(err, r.report(f))
	})
}

// read reads the flags, and reports all that is wrong with them.
func (r *rehearsal) read() error {
	c := r.c
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	numberOf := func(name string, most int64) int64 {
		n, err := number(c, name)
		if err == nil && (n < 1 || n > most) {
			err = fmt.Errorf("--%s: must be 1 to %d, not %d", name, most, n)
		}
		fault(err)
		return n
	}
	if c.String("html") == toOutput {
		fault(errors.New("--html: must be a file: the results are written to the output"))
	}
	base, err := url.Parse(c.String("gateway"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		fault(errors.New("--gateway: must be a URL such as https://bank.example"))
	}
	switch {
	case c.IsSet("users") == c.IsSet("accounts"):
		fault(errors.New("give either --users NUMBER, which registers accounts, or --accounts FILE"))
	case c.IsSet("users"):
		if n := numberOf("users", rehearse.MaxUsers); len(faults) == 0 {
			r.prefix, r.play.Users = rehearse.NewUsers(int(n))
		}
	default:
		if r.play.Users, err = readUsers(c.String("accounts")); err != nil {
			fault(fmt.Errorf("--accounts: %w", err))
		}
		if c.Bool("clean") {
			fault(errors.New("--clean: removes accounts that a rehearsal has registered; those of --accounts stay"))
		}
	}
	switch {
	case c.IsSet("rate") == c.Bool("at-once"):
		fault(errors.New("give either --rate RATE, such as 200/s, or --at-once"))
	case c.IsSet("rate"):
		if r.play.Rate, err = rehearse.ParseRate(c.String("rate")); err != nil {
			fault(fmt.Errorf("--rate: %w", err))
		}
	}
	slots := numberOf("slots", campaign.MaxPlaces)
	r.settings = campaign.Settings{
		Name: "Rehearsal", Description: "a rehearsal: nobody wins anything", Slots: slots,
		Waitlist: min(defaultWaitlist, campaign.MaxPlaces-slots), Rehearsal: true,
	}
	r.play.System.Replicas = int(numberOf("replicas", 1000))
	if c.IsSet("cores") {
		r.play.System.Cores = int(numberOf("cores", 1000))
	}
	if c.IsSet("addresses") {
		network, err := netip.ParsePrefix(c.String("addresses"))
		if err != nil {
			fault(fmt.Errorf("--addresses: %q is not a network; write 10.9.0.0/16", c.String("addresses")))
		} else {
			r.play.Addresses = network.String()
			for i := range r.play.Users {
				r.play.Users[i].Address = rehearse.AddressIn(network, i)
			}
		}
	}
	if len(faults) > 0 {
		return withHint(&usageError{errors.Join(faults...)}, `"earlybird rehearse --help" has an example`)
	}
	r.play.Gateway = strings.TrimRight(base.String(), "/")
	r.client = rehearse.NewClient(r.play.Gateway, nil)
	r.play.Gateway = shown(r.play.Gateway)
	return nil
}

func readUsers(name string) ([]rehearse.User, error) {
	file, err := os.Open(name) //nolint:gosec // the operator's own
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	users, err := rehearse.ReadUsers(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return users, nil
}

// check reads the log and refuses where a rehearsal would do harm, or would
// measure another system than the one whose campaign it starts.
func (r *rehearsal) check() (*campaign.Log, error) {
	log, err := r.campaigns().Read(r.c.Context)
	if err != nil {
		return nil, err
	}
	if err := harmless(log); err != nil {
		return nil, err
	}
	if err := r.sameSystem(r.c.Context); err != nil {
		return nil, err
	}
	if r.prefix == "" {
		return log, r.identify(r.c.Context)
	}
	return log, nil
}

// harmless refuses while a campaign can still give discounts, or while somebody
// has one.
func harmless(l *campaign.Log) error {
	if f := l.Latest(); f != nil && f.Phase() != campaign.PhaseEnded {
		return withHint(fmt.Errorf("%w: %s has not ended, and a rehearsal needs a campaign of its own", campaign.ErrRefused, describe(f)),
			`rehearse on another system, or end it first with "earlybird campaign end"`)
	}
	if f := l.InForce(); f != nil && !f.Settings().Rehearsal && f.Granted() > 0 {
		return withHint(fmt.Errorf("%w: the %s of %s would lose the discount to the rehearsal's campaign", campaign.ErrRefused, count(f.Granted(), "winner"), describe(f)),
			"rehearse on another system: this one is in use")
	}
	return nil
}

// sameSystem refuses a gateway that leads to other stores: its keys must be those
// in MongoDB.
func (r *rehearsal) sameSystem(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := r.client.Keys(ctx)
	if err != nil {
		return withHint(fmt.Errorf("the gateway %s: %w", r.play.Gateway, err), "--gateway or EARLYBIRD_GATEWAY_URL names another")
	}
	keys, err := token.ParseKeySet(text)
	if err != nil {
		return withHint(fmt.Errorf("the gateway %s does not serve Earlybird's keys: %w", r.play.Gateway, err), "--gateway must be the URL that clients use")
	}
	stored, err := keyring.List(ctx, r.mongo, time.Now())
	if err != nil {
		return err
	}
	for _, k := range stored {
		if _, err := keys.PublicKey(k.KeyID); err == nil {
			return nil
		}
	}
	return withHint(fmt.Errorf("the gateway %s serves other keys than those in MongoDB: it belongs to another system", r.play.Gateway),
		"compare --gateway with --mongo-url; the campaign would start there and the users would log in here")
}

// identify finds the ids of the users' accounts.
func (r *rehearsal) identify(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range r.play.Users {
		if ctx.Err() != nil {
			break
		}
		u := &r.play.Users[i]
		group.Go(func() error {
			canonical, err := account.Canonical(u.Name)
			if err != nil {
				return err
			}
			found, err := r.mongo.Credential(ctx, canonical)
			switch {
			case errors.Is(err, account.ErrNotFound):
				return withHint(fmt.Errorf("there is no user %q", u.Name), "compare --gateway, --mongo-url and --accounts: are they of the same system?")
			case err != nil:
				return err
			case found.Disabled:
				return fmt.Errorf("the account of %q is disabled", u.Name)
			}
			u.ID = found.UserID
			return nil
		})
	}
	return group.Wait()
}

// announcement says what will be done, and what it will leave behind.
func (r *rehearsal) announcement(l *campaign.Log) string {
	n := int64(len(r.play.Users))
	how := "at one moment"
	if r.play.Rate > 0 {
		how = fmt.Sprintf("within %s", r.play.Rate.After(int(n)).Round(time.Second))
	}
	lines := []string{fmt.Sprintf("This rehearses launch day at %s with campaign %d: %s log in %s, and the first %s a slot, at 0 %% off.",
		r.play.Gateway, aimedAt(l, "campaign start"), count(n, "user"), how, first(r.settings.Slots)+" "+verb(r.settings.Slots, "gets", "get"))}
	if r.prefix != "" {
		lines = append(lines, fmt.Sprintf("First it registers their accounts, %s000001 to %s%06d, with random passwords that nobody sees.", r.prefix, r.prefix, n))
	}
	lines = append(lines, "Anybody else who logs in meanwhile takes part.",
		"Afterwards it ends the campaign, which stays in the log, marked as a rehearsal; the login audit keeps the logins.")
	switch {
	case r.prefix == "":
	case r.c.Bool("clean"):
		lines = append(lines, "It removes the accounts.")
	default:
		lines = append(lines, "The accounts stay, and nobody can log in with them; --clean would remove them.")
	}
	return strings.Join(lines, "\n")
}

// perform does it all on record. What has begun is also ended after Ctrl-C: the
// campaign ends, and the accounts are removed if they were to be.
func (r *rehearsal) perform(log *campaign.Log) error {
	act := mongostore.Action{Name: "rehearse", Campaign: aimedAt(log, "campaign start")}
	return recorded(r.c, r.stores, act, func(ctx context.Context, a *mongostore.Action) error {
		err := r.register()
		if err == nil {
			err = r.start(ctx, a)
		}
		if err == nil {
			r.logIn(r.c.Context) //nolint:contextcheck // Ctrl-C ends the logins, and not what is done after them
			err = errors.Join(r.end(ctx), r.readOutcome(ctx))
		}
		err = errors.Join(err, r.clean(ctx))
		if err == nil && r.c.Err() != nil {
			return fmt.Errorf("%w: the rehearsal was ended early", errInterrupted)
		}
		return err
	})
}

func (r *rehearsal) register() error {
	if r.prefix == "" {
		return nil
	}
	done := meter(r.c.App.ErrWriter, "Registering", "accounts", len(r.play.Users))
	var err error
	r.play.Registered, err = rehearse.Register(r.c.Context, r.client, r.play.Users, done)
	done(-1)
	switch {
	case errors.Is(err, rehearse.ErrEnrolment):
		return withHint(err, "rehearse with accounts that exist: --accounts FILE; or with --registration open on this system")
	case r.c.Err() != nil:
		return fmt.Errorf("%w: %d of %s were registered, no campaign was started", errInterrupted, r.play.Registered.Accounts, count(int64(len(r.play.Users)), "account"))
	case err != nil:
		return err
	}
	return r.identify(r.c.Context)
}

// start starts the rehearsal's campaign, unless it would do harm by now.
func (r *rehearsal) start(ctx context.Context, a *mongostore.Action) error {
	admin := r.campaigns()
	if _, err := admin.Read(ctx); err != nil {
		return err
	}
	done, err := admin.Commit(ctx, func(l *campaign.Log, at time.Time) (*campaign.Fold, campaign.Entry, error) {
		if err := harmless(l); err != nil {
			return nil, campaign.Entry{}, err
		}
		// Another rehearsal may have had the number that was announced.
		r.number = aimedAt(l, "campaign start")
		a.Campaign = r.number
		s := r.settings
		s.EndsAt = at.Add(r.play.Rate.After(len(r.play.Users)) + drains + spare)
		return campaign.Start(s)(l, at)
	})
	var uncertain *campaign.UncertainError
	if errors.As(err, &uncertain) { // it may have started
		err = errors.Join(err, r.end(ctx))
	}
	if err != nil {
		return err
	}
	a.Entry = done.Entry.DocumentID()
	r.play.Outcome = rehearse.Outcome{Campaign: r.number, Name: r.settings.Name, Slots: r.settings.Slots}
	if done.Mirror != nil {
		say(r.c.App.ErrWriter, "Redis does not know of the campaign yet: logins are told pending (%s).\n", brief(done.Mirror))
	}
	return nil
}

func (r *rehearsal) logIn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.play.Rate.After(len(r.play.Users))+drains)
	defer cancel()
	done := meter(r.c.App.ErrWriter, "Logging in", "users", len(r.play.Users))
	load := rehearse.Load{Client: r.client, Users: r.play.Users, Rate: r.play.Rate, Progress: done}
	r.play.Seen = load.Run(ctx)
	done(-1)
}

// end ends the rehearsal's campaign, whatever was decided about it meanwhile.
func (r *rehearsal) end(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, ending)
	defer cancel()
	for {
		err := r.endOnce(bounded)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-bounded.Done():
			return withHint(fmt.Errorf("campaign %d, the rehearsal's, was not ended: %w", r.number, err), `"earlybird campaign end" ends it; by itself it ends %s after the last user was due`, drains+spare)
		}
	}
}

// readOutcome reads what the log says of the campaign.
func (r *rehearsal) readOutcome(ctx context.Context) error {
	f, err := r.campaigns().Campaign(ctx, r.number)
	if err != nil {
		return err
	}
	o := &r.play.Outcome
	o.Slots, o.Granted, o.Hash, o.Position = f.Settings().Slots, f.Granted(), f.Hash().String(), map[string]int64{}
	for _, e := range f.Entries() {
		for _, user := range e.Users {
			o.Position[user] = f.Position(user)
		}
	}
	accounts, err := r.accounts()
	if err != nil {
		return err
	}
	if attempts, err := accounts.Attempts(ctx, r.play.Users[0].ID, 1); err == nil && len(attempts) > 0 {
		r.play.SeenFrom = attempts[0].IP
	}
	return nil
}

func (r *rehearsal) endOnce(ctx context.Context) error {
	admin := r.campaigns()
	log, err := admin.Read(ctx)
	if err != nil {
		return err
	}
	f := log.Latest()
	if f == nil || f.Campaign() != r.number || !f.Settings().Rehearsal || f.Phase() == campaign.PhaseEnded {
		return nil
	}
	_, err = admin.Commit(ctx, campaign.End())
	return err
}

// clean removes the accounts that were registered.
func (r *rehearsal) clean(ctx context.Context) error {
	if r.prefix == "" {
		return nil
	}
	if !r.c.Bool("clean") {
		if r.play.Registered.Accounts == 0 {
			return nil
		}
		say(r.c.App.ErrWriter, "The accounts %s... stay: \"earlybird user list --prefix %s\" lists them.\n", r.prefix, r.prefix)
		return nil
	}
	admin, err := r.accounts()
	if err != nil {
		return err
	}
	done := meter(r.c.App.ErrWriter, "Removing", "accounts", len(r.play.Users))
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(atOnce)
	removed := 0
	for _, u := range r.play.Users {
		group.Go(func() error {
			found, err := admin.Deleting(ctx, u.Name)
			if err == nil {
				_, err = admin.Delete(ctx, found)
			}
			if err != nil && !errors.Is(err, account.ErrNotFound) && !errors.Is(err, account.ErrNotAnnounced) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			removed++
			done(removed)
			return nil
		})
	}
	err = group.Wait()
	done(-1)
	if err != nil {
		return withHint(fmt.Errorf("not all accounts were removed: %w", err), `"earlybird user list --prefix %s" lists those that are left, "earlybird user delete" removes one`, r.prefix)
	}
	return nil
}

// summaryColumns are the numbers of a rehearsal; times are in seconds.
var summaryColumns = columns("campaign gateway users rate logins lasted p50 p90 p99 max user_p50 user_p99 status_429 status_503 failed slots granted full_in told")

// report writes what was measured.
func (r *rehearsal) report(f output.Format) error {
	report := rehearse.NewReport(r.play)
	var saved, err error
	if name := r.c.String("html"); name != "" {
		saved = replaceFile(name, report.HTML)
	}
	switch f {
	case output.JSON:
		encoder := json.NewEncoder(r.c.App.Writer)
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(report)
	case output.CSV, output.Table:
		err = output.One(r.c.App.Writer, f, summaryColumns, report.Campaign, report.Gateway, report.Users, report.Came(), report.Done, report.Lasted,
			report.Login.P50, report.Login.P90, report.Login.P99, report.Login.Max, report.User.P50, report.User.P99,
			report.Limited, report.Busy, report.Failed, report.Slots, report.Granted, report.FullIn, report.ToldText())
	}
	if f == output.Table && err == nil {
		err = writeChecks(r.c.App.Writer, report)
	}
	var broken error
	if report.Broken() {
		broken = withHint(errors.New("a promise was broken in the rehearsal"), `look at the checks above, and at "earlybird campaign audit"`)
	}
	return errors.Join(err, saved, broken)
}

// writeChecks writes the checks, and what the numbers mean.
func writeChecks(w io.Writer, report rehearse.Report) error {
	list := output.List(w, output.Table, append(columns("check ok"), output.Column{Name: "detail", Long: true})...)
	for _, c := range report.Checks {
		if err := list.Row(c.Name, c.OK, c.Detail); err != nil {
			return err
		}
	}
	if err := list.Close(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, strings.Join(report.Meaning, "\n"))
	return err
}
