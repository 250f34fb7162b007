package campaign

import (
	"strconv"
	"strings"
	"time"
)

// Older reports whether stream id a comes before b. An id is milliseconds, a
// dash and a sequence number.
func Older(a, b string) bool {
	ams, aseq := splitID(a)
	bms, bseq := splitID(b)
	return ams < bms || (ams == bms && aseq < bseq)
}

func splitID(id string) (ms, seq uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64)
	seq, _ = strconv.ParseUint(right, 10, 64)
	return ms, seq
}

// EntryTime is when an entry of a stream was added, by the clock of Redis.
func EntryTime(id string) time.Time {
	ms, _ := splitID(id)
	return time.UnixMilli(int64(ms)).UTC() //nolint:gosec // G115: milliseconds are far from the limit
}
