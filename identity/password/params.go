package password

import "fmt"

// Params are the cost parameters of argon2id (RFC 9106 section 3.1).
type Params struct {
	MemoryKiB   uint32 // KiB
	Time        uint32 // passes over the memory
	Parallelism uint8  // lanes
}

// DefaultParams is the second of the equivalent minimum settings of the OWASP
// Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
var DefaultParams = Params{MemoryKiB: 19 * 1024, Time: 2, Parallelism: 1}

// The most that a hash may cost, a new one or one read from a store: what is
// in a store may have been put there by somebody else.
const (
	maxMemoryKiB   = 256 * 1024
	maxTime        = 16
	maxParallelism = 16
)

// owaspMinimum lists the settings that OWASP holds to be of equal strength.
var owaspMinimum = []struct{ memoryKiB, time uint32 }{
	{47104, 1}, {19456, 2}, {12288, 3}, {9216, 4}, {7168, 5},
}

// Validate reports parameters that are weaker than the OWASP minimum, or that
// cost more than this package is willing to spend.
func (p Params) Validate() error {
	if err := p.bounded(); err != nil {
		return err
	}
	for _, m := range owaspMinimum {
		if p.MemoryKiB >= m.memoryKiB && p.Time >= m.time {
			return nil
		}
	}
	return fmt.Errorf("argon2id with %d KiB and %d passes is weaker than the OWASP minimum: "+
		"at least 47104 KiB and 1 pass, 19456 and 2, 12288 and 3, 9216 and 4, or 7168 and 5", p.MemoryKiB, p.Time)
}

// bounded reports parameters that argon2id does not allow or that cost too
// much. The cost of one hash grows with memory times passes.
func (p Params) bounded() error {
	switch {
	case p.Time < 1 || p.Time > maxTime:
		return fmt.Errorf("argon2id with %d passes: must be 1 to %d", p.Time, maxTime)
	case p.Parallelism < 1 || p.Parallelism > maxParallelism:
		return fmt.Errorf("argon2id with parallelism %d: must be 1 to %d", p.Parallelism, maxParallelism)
	case p.MemoryKiB < 8*uint32(p.Parallelism) || p.MemoryKiB > maxMemoryKiB:
		return fmt.Errorf("argon2id with %d KiB: must be %d (8 for each lane) to %d", p.MemoryKiB, 8*uint32(p.Parallelism), maxMemoryKiB)
	}
	return nil
}
