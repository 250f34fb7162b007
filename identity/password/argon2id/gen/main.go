// Command gen writes the assembly of package argon2id: its compression function
// in AVX-512 and in AVX2. `make generate` runs it.
//
// A block is 128 words of 64 bits, eight rows of 16. The permutation P of RFC
// 9106 section 3.6 works on 16 words v0 to v15: first on each row, then on each
// column, which is two words of each of the eight rows. P itself mixes a =
// v0..v3, b = v4..v7, c = v8..v11 and d = v12..v15 element by element; then it
// mixes the diagonals, for which b, c and d are rotated by one, two and three
// elements and back again.
package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	rows     = 8
	rowBytes = 128
)

// Of VPERMQ: rotates the four words of each 256 bits to the left.
const (
	byOne   = 0x39
	byTwo   = 0x4e
	byThree = 0x93
)

func main() {
	ConstraintExpr("gc,!purego") // and amd64, by the names of the files
	avx512()
	avx2()
	Generate()
}

// vectors are registers that the same instruction is applied to, one after the other.
type vectors []reg.VecVirtual

// set is what the two instruction sets do in different ways.
type set struct {
	register func() reg.VecVirtual
	xor      func(x, y, to reg.VecVirtual)
	rotate   func(x reg.VecVirtual, bits uint64) // each word to the right
}

// function begins a form of the compression function (RFC 9106 section 3.5).
func function(name string) (dst, prev, ref reg.Register) {
	TEXT(name, attr.Attribute(0), "func(dst, prev, ref *[128]uint64)")
	Doc(name + " is the compression function G: it sets dst to dst XOR G(prev, ref).")
	Pragma("noescape")
	return Load(Param("dst"), GP64()), Load(Param("prev"), GP64()), Load(Param("ref"), GP64())
}

// mix is GB (RFC 9106 section 3.6) on every element. The instructions for
// independent vectors alternate, so that each hides the latency of the others.
func (s set) mix(a, b, c, d vectors) {
	step := func(x, y, z vectors, bits uint64) {
		product := make(vectors, len(x))
		for i := range x {
			product[i] = s.register()
			VPMULUDQ(x[i], y[i], product[i])
		}
		for i := range x {
			VPADDQ(x[i], y[i], x[i])
		}
		for range 2 {
			for i := range x {
				VPADDQ(x[i], product[i], x[i])
			}
		}
		for i := range x {
			s.xor(x[i], z[i], z[i])
		}
		for i := range x {
			s.rotate(z[i], bits)
		}
	}
	step(a, b, d, 32)
	step(c, d, b, 24)
	step(a, b, d, 16)
	step(c, d, b, 63)
}

// permuteRows is P on rows: each 256 bits are a, b, c or d of one row.
func (s set) permuteRows(a, b, c, d vectors) {
	rotate := func(x vectors, by uint64) {
		for i := range x {
			VPERMQ(Imm(by), x[i], x[i])
		}
	}
	s.mix(a, b, c, d)
	rotate(b, byOne)
	rotate(c, byTwo)
	rotate(d, byThree)
	s.mix(a, b, c, d)
	rotate(b, byThree)
	rotate(c, byTwo)
	rotate(d, byOne)
}

// permuteColumns is P on columns: each 128 bits are two words of a column, and
// row[i] has those of row i.
func (s set) permuteColumns(row vectors) {
	// next returns the 128 bits from the middle of x to the middle of y.
	next := func(x, y reg.VecVirtual) reg.VecVirtual {
		to := s.register()
		VPALIGNR(Imm(8), x, y, to)
		return to
	}
	a, b, c, d := row[0:2], row[2:4], row[4:6], row[6:8]
	s.mix(a, b, c, d)
	b = vectors{next(b[0], b[1]), next(b[1], b[0])}
	c = vectors{c[1], c[0]}
	d = vectors{next(d[1], d[0]), next(d[0], d[1])}
	s.mix(a, b, c, d)
	row[2], row[3] = next(b[1], b[0]), next(b[0], b[1])
	row[4], row[5] = c[1], c[0]
	row[6], row[7] = next(d[0], d[1]), next(d[1], d[0])
}

// avx512 keeps the whole block in 16 of the 32 registers.
func avx512() {
	s := set{
		register: func() reg.VecVirtual { return ZMM() },
		xor:      func(x, y, to reg.VecVirtual) { VPXORQ(x, y, to) },
		rotate:   func(x reg.VecVirtual, bits uint64) { VPRORQ(Imm(bits), x, x) },
	}
	dst, prev, ref := function("compressAVX512")
	at := func(base reg.Register, row, half int) Mem {
		return Mem{Base: base, Disp: row*rowBytes + half*rowBytes/2}
	}
	// halves exchanges the upper 256 bits of x with the lower of y.
	halves := func(x, y reg.VecVirtual) (reg.VecVirtual, reg.VecVirtual) {
		low, high := s.register(), s.register()
		VSHUFI64X2(Imm(0x44), y, x, low)
		VSHUFI64X2(Imm(0xee), y, x, high)
		return low, high
	}

	var half [2]vectors // of each row
	for row := range rows {
		for h := range half {
			z := s.register()
			VMOVDQU64(at(ref, row, h), z)
			VPXORQ(at(prev, row, h), z, z)
			half[h] = append(half[h], z)
		}
	}
	var a, b, c, d vectors
	for row := 0; row < rows; row += 2 {
		ra, rb := halves(half[0][row], half[0][row+1])
		rc, rd := halves(half[1][row], half[1][row+1])
		a, b, c, d = append(a, ra), append(b, rb), append(c, rc), append(d, rd)
	}
	s.permuteRows(a, b, c, d)
	for i := range a {
		half[0][2*i], half[0][2*i+1] = halves(a[i], b[i])
		half[1][2*i], half[1][2*i+1] = halves(c[i], d[i])
	}
	// The half with the first word, which says where the next block reads, comes
	// first: the processor begins to read while it works on the other half.
	for h := range half {
		s.permuteColumns(half[h])
		for row, z := range half[h] {
			input := s.register()
			VMOVDQU64(at(prev, row, h), input)
			VPTERNLOGQ(Imm(0x96), at(ref, row, h), input, z) // z XOR input XOR ref
			VPXORQ(at(dst, row, h), z, z)
			VMOVDQU64(z, at(dst, row, h))
		}
	}
	VZEROUPPER()
	RET()
}

// avx2 has two rows or two columns in registers at a time, and the block between
// rows and columns on the stack.
func avx2() {
	var by16, by24 reg.VecVirtual
	s := set{
		register: func() reg.VecVirtual { return YMM() },
		xor:      func(x, y, to reg.VecVirtual) { VPXOR(x, y, to) },
	}
	s.rotate = func(x reg.VecVirtual, bits uint64) {
		switch bits {
		case 32:
			VPSHUFD(Imm(0xb1), x, x)
		case 24:
			VPSHUFB(by24, x, x)
		case 16:
			VPSHUFB(by16, x, x)
		case 63:
			double := s.register()
			VPADDQ(x, x, double)
			VPSRLQ(Imm(63), x, x)
			VPXOR(double, x, x)
		}
	}
	bytes24 := rotation("rotate24", 3)
	bytes16 := rotation("rotate16", 2)

	dst, prev, ref := function("compressAVX2")
	for line := 0; line < rows*rowBytes; line += 64 { // the wait for all of ref begins at once
		PREFETCHT0(Mem{Base: ref, Disp: line})
	}
	by24, by16 = s.register(), s.register()
	VMOVDQU(bytes24, by24)
	VMOVDQU(bytes16, by16)
	between := AllocLocal(rows * rowBytes)
	at := func(base reg.Register, row, quarter int) Mem {
		return Mem{Base: base, Disp: row*rowBytes + quarter*rowBytes/4}
	}
	for row := 0; row < rows; row += 2 {
		var quarters [4]vectors
		for q := range quarters {
			for r := range 2 {
				y := s.register()
				VMOVDQU(at(ref, row+r, q), y)
				VPXOR(at(prev, row+r, q), y, y)
				quarters[q] = append(quarters[q], y)
			}
		}
		s.permuteRows(quarters[0], quarters[1], quarters[2], quarters[3])
		for q := range quarters {
			for r := range 2 {
				VMOVDQU(quarters[q][r], between.Offset((row+r)*rowBytes+q*rowBytes/4))
			}
		}
	}
	for q := range 4 {
		column := make(vectors, rows)
		for row := range column {
			column[row] = s.register()
			VMOVDQU(between.Offset(row*rowBytes+q*rowBytes/4), column[row])
		}
		s.permuteColumns(column)
		for row, y := range column {
			VPXOR(at(prev, row, q), y, y)
			VPXOR(at(ref, row, q), y, y)
			VPXOR(at(dst, row, q), y, y)
			VMOVDQU(y, at(dst, row, q))
		}
	}
	VZEROUPPER()
	RET()
}

// rotation is the constant with which VPSHUFB rotates each word to the right by
// so many bytes. It counts bytes within 128 bits.
func rotation(name string, by uint8) Mem {
	global := GLOBL(name, RODATA|NOPTR)
	for i := range uint8(32) {
		word := i / 8 % 2
		DATA(int(i), U8(8*word+(i+by)%8))
	}
	return global
}
