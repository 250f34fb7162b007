package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/earlybird/earlybird/identity/mongostore"
)

// RedisSettings are those that the promises of a campaign rest on. A setting
// that the server does not show is empty.
type RedisSettings struct {
	Policy        string // maxmemory-policy
	MaxMemory     string // in bytes, 0: as much as there is
	UsedMemory    string // in bytes
	AppendOnly    string // yes or no
	AppendFsync   string // always, everysec or no
	MinReplicas   string // min-replicas-to-write
	WhyUnreadable string // what the server says when settings are not shown
}

const lookYourself = "an embedded server has no such setting, a managed one hides it: look in its console for "

// Eviction judges what Redis does when its memory is full: it may refuse, but
// never forget who was among the first.
func (s RedisSettings) Eviction() (string, error) {
	const fix = "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf: an evicted key is a lost campaign"
	switch {
	case s.Policy == "":
		return "", &Warning{s.unreadable("maxmemory-policy"), lookYourself + "maxmemory-policy noeviction"}
	case s.Policy == "noeviction" && s.full():
		return "", &Advised{
			fmt.Sprintf("memory is full, %s of %s bytes: logins are told pending", s.UsedMemory, s.MaxMemory),
			"CONFIG SET maxmemory to more, and the same in redis.conf; the logins are made good by themselves then",
		}
	case s.Policy == "noeviction":
		return "maxmemory-policy noeviction: when full it refuses, and forgets nothing", nil
	case s.MaxMemory == "0":
		return "", &Warning{fmt.Sprintf("maxmemory-policy %s, harmless only as long as maxmemory is 0", s.Policy), fix}
	default:
		return "", &Advised{fmt.Sprintf("maxmemory-policy %s: when full it deletes what it was told to keep", s.Policy), fix}
	}
}

// full reports whether Redis refuses writes for want of memory.
func (s RedisSettings) full() bool {
	used, err1 := strconv.ParseInt(s.UsedMemory, 10, 64)
	most, err2 := strconv.ParseInt(s.MaxMemory, 10, 64)
	return err1 == nil && err2 == nil && most > 0 && used >= most
}

// Append judges whether Redis writes down what it decides.
func (s RedisSettings) Append() (string, error) {
	switch s.AppendOnly {
	case "":
		return "", &Warning{s.unreadable("appendonly"), lookYourself + "appendonly yes, or another log that survives a crash"}
	case "yes":
		return "appendonly yes: what was decided is written down", nil
	default:
		return "", &Advised{
			"appendonly no: a crash loses grants that people have seen",
			"CONFIG SET appendonly yes, and the same in redis.conf; wait until INFO persistence says aof_rewrite_in_progress:0",
		}
	}
}

// Fsync judges whether what is written is on disk before the answer. A primary
// that refuses to write without replicas has another way to be durable.
func (s RedisSettings) Fsync() (string, error) {
	const fix = "CONFIG SET appendfsync always, and the same in redis.conf"
	replicated := s.MinReplicas != "" && s.MinReplicas != "0"
	switch {
	case s.AppendFsync == "":
		return "", &Warning{s.unreadable("appendfsync"), lookYourself + "appendfsync always, or for replicas that confirm each write"}
	case s.AppendFsync == "always":
		return "appendfsync always: a grant is on disk before it is told", nil
	case replicated:
		return "", &Warning{
			fmt.Sprintf("appendfsync %s: grants rest on the %s replicas that must confirm", s.AppendFsync, s.MinReplicas),
			fix + "; or make sure that identity and earlybird-tag wait for replicas (--redis-replicas, replicas)",
		}
	default:
		return "", &Advised{fmt.Sprintf("appendfsync %s: a power failure loses the last grants that people have seen", s.AppendFsync), fix}
	}
}

func (s RedisSettings) unreadable(setting string) string {
	if s.WhyUnreadable == "" {
		return setting + " is not shown"
	}
	return fmt.Sprintf("%s is not shown: %s", setting, s.WhyUnreadable)
}

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

// Replication judges what kind of server keeps the ledger.
func Replication(d mongostore.Deployment) (string, error) {
	const fix = "use a replica set of three, or a sharded cluster: the ledger is what everything is restored from"
	switch {
	case d.FerretDB:
		return "", &Warning{"FerretDB, a single server for trying and testing", fix}
	case d.Sharded:
		return "sharded cluster, MongoDB " + d.Version, nil
	case d.Set == "":
		return "", &Warning{"MongoDB " + d.Version + ", a server alone: no fail-over, and no copy of the ledger", fix}
	case d.Members < 3:
		return "", &Warning{fmt.Sprintf("replica set %s with data on %d: losing one stops writes, or loses the ledger", d.Set, d.Members), fix}
	default:
		return fmt.Sprintf("replica set %s with data on %d, MongoDB %s", d.Set, d.Members, d.Version), nil
	}
}
