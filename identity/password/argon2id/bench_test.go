//go:build unix

package argon2id

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// BenchmarkIDKey measures a hash with the default parameters of a password in
// x/crypto's implementation and in every form that this machine has. Each hash
// is measured beside one of x/crypto's, so that the ratio of their CPU times,
// garbage collection included, means something on a machine with other work.
// cached makes as many blocks in 16 KiB, which is the time without the memory.
func BenchmarkIDKey(b *testing.B) {
	const passes, kib, cached = 2, 19 * 1024, 16
	password, salt := []byte("correct horse battery staple"), []byte("somesaltsomesalt")
	theirs := func() { argon2.IDKey(password, salt, passes, kib, 1, 32) }
	b.Run("xcrypto", func(b *testing.B) { beside(b, theirs, theirs) })
	for _, form := range Forms() {
		h, key := newHasher(b, form, kib, 1), make([]byte, 32)
		b.Run(form, func(b *testing.B) {
			beside(b, theirs, func() { h.IDKey(key, password, salt, passes, kib, 1) })
		})
		b.Run(form+"/cached", func(b *testing.B) {
			beside(b, theirs, func() { h.IDKey(key, password, salt, passes*kib/cached, cached, 1) })
		})
	}
}

func beside(b *testing.B, theirs, ours func()) {
	var us, them time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		start := cpuTime(b)
		theirs()
		them += cpuTime(b) - start
		b.StartTimer()
		start = cpuTime(b)
		ours()
		us += cpuTime(b) - start
	}
	b.ReportMetric(us.Seconds()*1000/float64(b.N), "cpu-ms/hash")
	b.ReportMetric(us.Seconds()/them.Seconds(), "of-xcrypto")
}

// cpuTime is that of the process, which includes the garbage collector's.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
