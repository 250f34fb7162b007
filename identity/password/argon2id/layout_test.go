package argon2id

import (
	"math"
	"math/rand/v2"
	"testing"
)

// referable lists what the block at p may refer to in a lane, oldest first,
// word by word as RFC 9106 section 3.4.2 has it.
func referable(l layout, p position, lane uint32) []uint32 {
	var list []uint32
	segment := func(slice, blocks uint32) {
		for i := range blocks {
			list = append(list, lane*l.length+slice*l.segment+i)
		}
	}
	if p.pass == 0 {
		for slice := range p.slice {
			segment(slice, l.segment)
		}
	} else {
		for back := uint32(3); back >= 1; back-- { // the last SL - 1 segments
			segment((p.slice+4-back)%4, l.segment)
		}
	}
	if lane == p.lane {
		segment(p.slice, p.index)
	}
	if lane == p.lane || p.index == 0 {
		list = list[:len(list)-1]
	}
	return list
}

func TestReference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	j1s := []uint32{0, 1, 1 << 16, 1 << 31, math.MaxUint32 - 1, math.MaxUint32}
	for range 20 {
		j1s = append(j1s, random.Uint32())
	}
	for _, l := range []layout{newLayout(params{kib: 8, lanes: 1}), newLayout(params{kib: 63, lanes: 1}), newLayout(params{kib: 100, lanes: 3}), newLayout(params{kib: 64, lanes: 8})} {
		seen := map[uint32]bool{}
		for pass := range uint32(3) {
			for slice := range uint32(4) {
				for lane := range l.lanes {
					for index := range l.segment {
						if pass == 0 && slice == 0 && index < 2 {
							continue
						}
						p := position{pass, slice, lane, index}
						for _, j1 := range j1s {
							j2 := random.Uint32()
							from := j2 % l.lanes
							if pass == 0 && slice == 0 {
								from = lane
							}
							list := referable(l, p, from)
							x := uint64(j1) * uint64(j1) / (1 << 32)
							y := uint64(len(list)) * x / (1 << 32)
							want := list[uint64(len(list))-1-y]
							got := l.reference(uint64(j2)<<32|uint64(j1), p)
							if got != want {
								t.Fatalf("%+v %+v j1=%d j2=%d: block %d, want %d of %d", l, p, j1, j2, got, want, list)
							}
							seen[got] = true
						}
					}
				}
			}
		}
		if want := l.lanes * l.length; uint32(len(seen)) < want*9/10 {
			t.Errorf("%+v: only %d blocks of %d are ever referred to", l, len(seen), want)
		}
	}
}
