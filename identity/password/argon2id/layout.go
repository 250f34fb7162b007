package argon2id

// syncPoints is SL, the number of slices of a pass (RFC 9106 section 3.4).
const syncPoints = 4

// layout is how the blocks of a hash are divided: lanes of length blocks, one
// after the other, each of syncPoints segments.
type layout struct{ lanes, length, segment uint32 }

// newLayout rounds the memory down (RFC 9106 section 3.2, step 2).
func newLayout(p params) layout {
	segment := p.kib / (syncPoints * p.lanes)
	return layout{lanes: p.lanes, length: syncPoints * segment, segment: segment}
}

// position is the place of a block: index counts within the segment.
type position struct{ pass, slice, lane, index uint32 }

// reference returns the block that the one at p is made of beside the one
// before it, for the pseudo-random j = J_2 << 32 | J_1 (RFC 9106 section 3.4.2).
func (l layout) reference(j uint64, p position) uint32 {
	lane := p.lane
	if l.lanes > 1 && (p.pass > 0 || p.slice > 0) {
		lane = uint32(j>>32) % l.lanes
	}
	// Of every lane the finished segments count, in the first pass from the
	// beginning, later the last three; of the own lane also the blocks of this
	// segment; and never the block just before this one.
	start, size := uint32(0), p.slice*l.segment
	if p.pass > 0 {
		start, size = (p.slice+1)%syncPoints*l.segment, (syncPoints-1)*l.segment
	}
	if lane == p.lane {
		size += p.index
	}
	if lane == p.lane || p.index == 0 {
		size--
	}
	x := j & (1<<32 - 1)
	x = x * x >> 32
	y := uint64(size) * x >> 32
	at := start + size - 1 - uint32(y)
	if at >= l.length {
		at -= l.length
	}
	return lane*l.length + at
}
