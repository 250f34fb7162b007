package argon2id

import (
	"encoding/binary"
	"slices"

	"golang.org/x/crypto/blake2b"
)

// What goes into H_0 (RFC 9106 section 3.2, step 1).
const (
	version = 0x13
	typeID  = 2 // Argon2id
)

// memory is what one hash needs. It is zero between hashes.
type memory struct {
	blocks []block
	input  []byte // of BLAKE2b

	// The addresses that do not depend on the password, 128 at a time:
	// addresses = G(zero, G(zero, counter)) (RFC 9106 section 3.4.1.2).
	counter, inner, addresses, zero block
}

func newMemory(kib uint32) *memory {
	return &memory{blocks: make([]block, kib), input: make([]byte, 0, 2*blockSize)}
}

func (m *memory) hash(key []byte, in inputs, p params, compress func(dst, prev, ref *block)) {
	l := newLayout(p)
	blocks := m.blocks
	if size := int(l.lanes * l.length); size <= len(blocks) {
		blocks = blocks[:size]
	} else {
		blocks = make([]block, size)
	}
	defer func() {
		clear(blocks)
		clear(m.input[:cap(m.input)])
		m.counter, m.inner, m.addresses = block{}, block{}, block{}
	}()
	m.begin(blocks, l, in, p, uint32(len(key))) //nolint:gosec // at most 64
	for pass := range p.passes {
		for slice := range uint32(syncPoints) {
			for lane := range p.lanes {
				m.fill(blocks, l, position{pass: pass, slice: slice, lane: lane}, p.passes, compress)
			}
		}
	}
	m.end(key, blocks, l)
}

// begin makes the first two blocks of every lane (RFC 9106 section 3.2, steps 1
// to 4).
func (m *memory) begin(blocks []block, l layout, in inputs, p params, keyLen uint32) {
	parts := [...][]byte{in.password, in.salt, in.secret, in.data}
	size := 10 * 4
	for _, part := range parts {
		size += len(part)
	}
	m.input = slices.Grow(m.input[:0], size) // once: what it leaves behind is zero
	for _, n := range [...]uint32{p.lanes, keyLen, p.kib, p.passes, version, typeID} {
		m.input = binary.LittleEndian.AppendUint32(m.input, n)
	}
	for _, part := range parts {
		m.input = binary.LittleEndian.AppendUint32(m.input, uint32(len(part))) //nolint:gosec // the RFC's bound, too, is 2^32
		m.input = append(m.input, part...)
	}
	h0 := blake2b.Sum512(m.input)
	clear(m.input)
	for lane := range l.lanes {
		for i := range uint32(2) {
			m.input = binary.LittleEndian.AppendUint32(m.input[:0], blockSize)
			m.input = append(m.input, h0[:]...)
			m.input = binary.LittleEndian.AppendUint32(m.input, i)
			m.input = binary.LittleEndian.AppendUint32(m.input, lane)
			expand(&blocks[lane*l.length+i], m.input)
		}
	}
}

// expand is the variable-length hash function H' (RFC 9106 section 3.3) of
// input, which begins with the length, for a block: the first half of each
// BLAKE2b in a chain, and all of the last.
func expand(b *block, input []byte) {
	const words = blake2b.Size / 8
	v := blake2b.Sum512(input)
	for at := 0; ; at += words / 2 {
		for i := range words {
			b[at+i] = binary.LittleEndian.Uint64(v[8*i:])
		}
		if at == len(b)-words {
			return
		}
		v = blake2b.Sum512(v[:])
	}
}

// fill makes the segment of which p is the beginning (RFC 9106 section 3.2,
// steps 5 and 6). The first pass is like the others, which XOR into what is
// there: all is zero at first.
func (m *memory) fill(blocks []block, l layout, p position, passes uint32, compress func(dst, prev, ref *block)) {
	if p.pass == 0 && p.slice == 0 {
		p.index = 2
	}
	first := p.lane*l.length + p.slice*l.segment
	prev := first + p.index - 1
	if p.slice == 0 && p.pass > 0 {
		prev = first + l.length - 1
	}
	// Which blocks are read does not depend on the password in the first half of
	// the first pass (RFC 9106 section 3.4.1.3).
	independent := p.pass == 0 && p.slice < syncPoints/2
	if independent {
		m.counter = block{uint64(p.pass), uint64(p.lane), uint64(p.slice), uint64(len(blocks)), uint64(passes), typeID}
		m.nextAddresses(compress)
	}
	for ; p.index < l.segment; p.index++ {
		j := blocks[prev][0]
		if independent {
			if p.index > 0 && p.index%uint32(len(m.addresses)) == 0 {
				m.nextAddresses(compress)
			}
			j = m.addresses[p.index%uint32(len(m.addresses))]
		}
		at := first + p.index
		compress(&blocks[at], &blocks[prev], &blocks[l.reference(j, p)])
		prev = at
	}
}

func (m *memory) nextAddresses(compress func(dst, prev, ref *block)) {
	m.counter[6]++
	m.inner, m.addresses = block{}, block{}
	compress(&m.inner, &m.zero, &m.counter)
	compress(&m.addresses, &m.zero, &m.inner)
}

// end hashes the XOR of the lanes' last blocks (RFC 9106 section 3.2, steps 7
// and 8).
func (m *memory) end(key []byte, blocks []block, l layout) {
	last := &blocks[len(blocks)-1]
	for lane := range l.lanes - 1 {
		for i, word := range blocks[(lane+1)*l.length-1] {
			last[i] ^= word
		}
	}
	m.input = binary.LittleEndian.AppendUint32(m.input[:0], uint32(len(key))) //nolint:gosec // at most 64
	for _, word := range last {
		m.input = binary.LittleEndian.AppendUint64(m.input, word)
	}
	if len(key) == blake2b.Size256 { // as new hashes are; New would take memory
		sum := blake2b.Sum256(m.input)
		copy(key, sum[:])
		return
	}
	sum, err := blake2b.New(len(key), nil)
	if err != nil {
		panic(err) // hash bounds the length
	}
	sum.Write(m.input)
	sum.Sum(key[:0])
}
