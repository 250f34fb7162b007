package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/revocation"
)

// Indexes judges what the store found of its indexes.
func Indexes(faults []mongostore.IndexFault) (string, error) {
	if len(faults) == 0 {
		return "all are there, as they must be", nil
	}
	var all []string
	for _, f := range faults {
		all = append(all, f.Collection+"."+f.Name+" "+f.Problem)
	}
	return "", &Warning{
		strings.Join(all, "; "),
		"restart identity: it mends them, and its log says why it could not, which may be a right that its user lacks; " +
			"--audit-retention here must be identity's; the embedded server has no expiring indexes, and identity removes what is old itself",
	}
}

// Replication judges what kind of server keeps the log.
func Replication(d mongostore.Deployment) (string, error) {
	const fix = "use a replica set of three, or a sharded cluster: everything else can be rebuilt from it"
	switch {
	case d.FerretDB:
		return "", &Warning{"FerretDB, a single server for trying and testing", fix}
	case d.Sharded:
		return "sharded cluster, MongoDB " + d.Version, nil
	case d.Set == "":
		return "", &Warning{"MongoDB " + d.Version + ", a server alone: no fail-over, and no copy of the data", fix}
	case d.Members < 3:
		return "", &Warning{fmt.Sprintf("replica set %s with data on %d: losing one stops writes, or loses data", d.Set, d.Members), fix}
	default:
		return fmt.Sprintf("replica set %s with data on %d, MongoDB %s", d.Set, d.Members, d.Version), nil
	}
}

// Clock judges how far this machine's clock is from MongoDB's, by which
// campaigns start and end. Asking took a time, which is a doubt.
func Clock(own, theirs time.Time, took time.Duration) (string, error) {
	skew := own.Sub(theirs)
	if off := skew.Abs() - took; off > campaign.MaxSkew {
		which := "ahead of"
		if skew < 0 {
			which = "behind"
		}
		return "", &Advised{
			fmt.Sprintf("this machine's clock is %s %s MongoDB's", skew.Abs().Round(time.Second), which),
			fmt.Sprintf("set both by NTP: an identity service that is more than %s off counts no logins, and its tokens are wrong", campaign.MaxSkew),
		}
	}
	return fmt.Sprintf("this machine's clock and MongoDB's agree within %s", max(time.Second, skew.Abs().Round(time.Second))), nil
}

// Log judges the campaign's log as it was read; err is what reading it said.
func Log(l *campaign.Log, err error) (string, error) {
	if err != nil {
		return "", err
	}
	f := l.Latest()
	if f == nil {
		return "there is no campaign yet", nil
	}
	return fmt.Sprintf("campaign %d, %d entries, and each follows from the one before", f.Campaign(), f.At().Seq+1), nil
}

// Origin judges whose data Redis holds.
func Origin(ours string, m mirror.Summary, r revocation.State) (string, error) {
	for _, part := range []struct{ what, origin string }{{"the campaign", m.Origin}, {"the revocations", r.Origin}} {
		if part.origin != "" && part.origin != ours {
			return "", &Advised{
				fmt.Sprintf("Redis holds %s of another database, origin %s; this one is %s", part.what, part.origin, ours),
				`is one of the two addresses wrong? Nothing is written to this Redis, and logins are answered with pending; "earlybird redis adopt" takes it over`,
			}
		}
	}
	if m.Origin == "" && r.Origin == "" {
		return "Redis is empty; it is filled from this database", nil
	}
	return "Redis is filled from this database", nil
}

// staleBeat is after which time without a beat the gateways say "unknown" in
// place of "no grant".
const staleBeat = 15 * time.Second

const isOneRunning = "is an identity service running, and does it reach this Redis and MongoDB? It fills Redis within a second"

// Mirror judges the copy of the log in Redis, which the gateways read. It was
// read before the log, and now is MongoDB's time.
func Mirror(l *campaign.Log, m mirror.Summary, now time.Time) (string, error) {
	at := campaign.Place{Seq: -1}
	if l.InForce() != nil {
		at = l.InForce().At()
	}
	switch {
	case m.Origin == "":
		return "", &Advised{"Redis holds nothing of the campaign", isOneRunning}
	case at.Before(m.Place) || at.Before(m.Stream):
		return "", &Advised{
			fmt.Sprintf("Redis holds the log up to %s, MongoDB only up to %s", m.Place, at),
			`MongoDB came back from an older backup? "earlybird campaign restore" shows what is missing and puts it back`,
		}
	case !m.Intact:
		return "", &Advised{"a part of what Redis holds is missing", isOneRunning + "; does maxmemory-policy say noeviction?"}
	case m.Beat.IsZero():
		return "", &Advised{"no identity service has found Redis complete yet", isOneRunning}
	case now.Sub(m.Beat) > staleBeat:
		return "", &Advised{fmt.Sprintf("the last identity service found Redis complete %s ago", now.Sub(m.Beat).Round(time.Second)), isOneRunning}
	}
	lag := at.Seq - m.Seq
	if m.Epoch != at.Epoch {
		lag = at.Seq + 1
	}
	return fmt.Sprintf("intact, %d entries behind, found complete %s ago", lag, max(0, now.Sub(m.Beat)).Round(100*time.Millisecond)), nil
}

// Revocations judges the stream of revocations in Redis.
func Revocations(r revocation.State, now time.Time) (string, error) {
	switch {
	case r.Origin == "":
		return "", &Advised{"Redis holds no revocations, nor that there are none", isOneRunning}
	case !r.Whole:
		return "", &Advised{"a part of the revocations is missing", isOneRunning + "; does maxmemory-policy say noeviction?"}
	case r.Beat.IsZero():
		return "", &Advised{"no identity service has compared the revocations with MongoDB yet", isOneRunning}
	case now.Sub(r.Beat) > staleBeat:
		return "", &Advised{fmt.Sprintf("the revocations were compared with MongoDB %s ago", now.Sub(r.Beat).Round(time.Second)), isOneRunning}
	default:
		return fmt.Sprintf("whole, compared with MongoDB %s ago", max(0, now.Sub(r.Beat)).Round(100*time.Millisecond)), nil
	}
}

// Right is one thing that Earlybird must be allowed to do in Redis, and what
// Redis said.
type Right struct {
	Command string
	Err     error
}

// Rights judges what Redis allowed.
func Rights(tried []Right) (string, error) {
	var denied []string
	for _, r := range tried {
		switch {
		case r.Err == nil:
		case strings.Contains(r.Err.Error(), "READONLY"):
			return "", &Advised{"this is a replica: it takes no writes", "name the primary, or the sentinels, with --redis-url or EARLYBIRD_REDIS_URL"}
		case strings.Contains(r.Err.Error(), "OOM"):
			return "", &Advised{"Redis is full and takes no more writes: gateways answer pending", "raise maxmemory; Redis is filled by itself then"}
		case strings.Contains(r.Err.Error(), "NOPERM"):
			denied = append(denied, "+"+r.Command)
		default:
			return "", fmt.Errorf("%s: %w", r.Command, r.Err)
		}
	}
	if len(denied) > 0 {
		return "", &Advised{
			"this Redis user may not: " + strings.Join(denied, " "),
			"ACL SETUSER with these, and ~earlybird:* for the keys; deploy/docs/operations.md lists what each part needs",
		}
	}
	return fmt.Sprintf("this user may do all %d things that are needed", len(tried)), nil
}
