package argon2id

import "math/bits"

// block is the unit of Argon2's memory: 1 KiB, eight rows of 16 words.
type block = [blockSize / 8]uint64

const blockSize = 1 << 10 // bytes

// form is one implementation of the compression function.
type form struct {
	name     string
	compress func(dst, prev, ref *block)
}

// The forms of the compression function.
const (
	AVX512  = "avx512"
	AVX2    = "avx2"
	Generic = "generic" // portable Go, on every processor
)

// Forms returns the forms that this processor has, the fastest first. GODEBUG
// (cpu.avx512f=off, cpu.avx2=off) takes them away, the build tag purego both.
func Forms() []string {
	var names []string
	for _, f := range forms() {
		names = append(names, f.name)
	}
	return names
}

// compressGeneric is the compression function G (RFC 9106 section 3.5): it sets
// dst to dst XOR G(prev, ref).
func compressGeneric(dst, prev, ref *block) {
	var state block
	// A word of every cache line first, so that the processor waits for all of ref
	// at once.
	for word := range 8 {
		for at := word; at < len(state); at += 8 {
			state[at] = prev[at] ^ ref[at]
		}
	}
	for row := 0; row < len(state); row += 16 {
		permute((*[16]uint64)(state[row:]))
	}
	for column := 0; column < 16; column += 2 {
		var v [16]uint64
		for i := range 8 {
			v[2*i], v[2*i+1] = state[16*i+column], state[16*i+column+1]
		}
		permute(&v)
		for i := range 8 {
			at := 16*i + column
			dst[at] ^= v[2*i] ^ prev[at] ^ ref[at]
			dst[at+1] ^= v[2*i+1] ^ prev[at+1] ^ ref[at+1]
		}
	}
}

// permute is P (RFC 9106 section 3.6): GB on the columns of the 4x4 matrix of v,
// then on its diagonals.
func permute(v *[16]uint64) {
	a0, a1, a2, a3 := v[0], v[1], v[2], v[3]
	b0, b1, b2, b3 := v[4], v[5], v[6], v[7]
	c0, c1, c2, c3 := v[8], v[9], v[10], v[11]
	d0, d1, d2, d3 := v[12], v[13], v[14], v[15]

	a0, d0 = step(a0, b0, d0, 32)
	c0, b0 = step(c0, d0, b0, 40)
	a0, d0 = step(a0, b0, d0, 48)
	c0, b0 = step(c0, d0, b0, 1)

	a1, d1 = step(a1, b1, d1, 32)
	c1, b1 = step(c1, d1, b1, 40)
	a1, d1 = step(a1, b1, d1, 48)
	c1, b1 = step(c1, d1, b1, 1)

	a2, d2 = step(a2, b2, d2, 32)
	c2, b2 = step(c2, d2, b2, 40)
	a2, d2 = step(a2, b2, d2, 48)
	c2, b2 = step(c2, d2, b2, 1)

	a3, d3 = step(a3, b3, d3, 32)
	c3, b3 = step(c3, d3, b3, 40)
	a3, d3 = step(a3, b3, d3, 48)
	c3, b3 = step(c3, d3, b3, 1)

	a0, d3 = step(a0, b1, d3, 32)
	c2, b1 = step(c2, d3, b1, 40)
	a0, d3 = step(a0, b1, d3, 48)
	c2, b1 = step(c2, d3, b1, 1)

	a1, d0 = step(a1, b2, d0, 32)
	c3, b2 = step(c3, d0, b2, 40)
	a1, d0 = step(a1, b2, d0, 48)
	c3, b2 = step(c3, d0, b2, 1)

	a2, d1 = step(a2, b3, d1, 32)
	c0, b3 = step(c0, d1, b3, 40)
	a2, d1 = step(a2, b3, d1, 48)
	c0, b3 = step(c0, d1, b3, 1)

	a3, d2 = step(a3, b0, d2, 32)
	c1, b0 = step(c1, d2, b0, 40)
	a3, d2 = step(a3, b0, d2, 48)
	c1, b0 = step(c1, d2, b0, 1)

	v[0], v[1], v[2], v[3] = a0, a1, a2, a3
	v[4], v[5], v[6], v[7] = b0, b1, b2, b3
	v[8], v[9], v[10], v[11] = c0, c1, c2, c3
	v[12], v[13], v[14], v[15] = d0, d1, d2, d3
}

// step is a quarter of GB.
func step(x, y, z uint64, left int) (uint64, uint64) {
	x += y + 2*uint64(uint32(x))*uint64(uint32(y)) //nolint:gosec // the lower halves
	return x, bits.RotateLeft64(z^x, left)
}
