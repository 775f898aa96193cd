//go:build (amd64 || arm64) && !purego

package deflate

import "unsafe"

// With bounds checked, as load_purego.go has it, a tenth more time is taken; [finder.find] tells why nothing is
// loaded from beyond them. What is written is checked everywhere.

func load32(b []byte, i int) uint32 {
	return *(*uint32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

func load64(b []byte, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}
