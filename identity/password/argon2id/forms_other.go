//go:build !amd64 || !gc || purego

package argon2id

func forms() []form { return []form{{Generic, compressGeneric}} }
