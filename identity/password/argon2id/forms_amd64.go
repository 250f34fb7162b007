//go:build gc && !purego

package argon2id

import "golang.org/x/sys/cpu"

// forms are the forms that this processor and its system support, the fastest first.
func forms() []form {
	var all []form
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW {
		all = append(all, form{AVX512, compressAVX512})
	}
	if cpu.X86.HasAVX2 {
		all = append(all, form{AVX2, compressAVX2})
	}
	return append(all, form{Generic, compressGeneric})
}
