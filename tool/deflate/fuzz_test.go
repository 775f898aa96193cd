package deflate

import "testing"

// unfold makes much of little: each three bytes are a run, a copy of what came before, or themselves, so that
// a fuzzer finds long matches, far ones, and blocks of all sorts.
func unfold(b []byte) (out []byte) {
	for len(b) >= 3 && len(out) < 1<<18 {
		op, n, x := b[0], int(b[1])<<(b[0]>>4&7), b[2]
		switch op & 3 {
		case 0:
			for range n {
				out = append(out, x)
			}
		case 1:
			if distance := 1 + int(x)<<(op>>2&7); distance <= len(out) {
				for range n {
					out = append(out, out[len(out)-distance])
				}
			}
		case 2: // hardly compressible
			v := uint32(x) | 1
			for range n {
				v = v*1664525 + 1013904223
				out = append(out, byte(v>>24))
			}
		case 3:
			out = append(out, b[:3]...)
		}
		b = b[3:]
	}
	return append(out, b...)
}

// What was deflated comes back, from two other decoders; it isn't much longer than it was, and depends on nothing else.
func FuzzAppend(f *testing.F) {
	var e Encoder
	f.Add([]byte("as it is: abcabcabcabcabcabc"), uint32(4), false)
	f.Add([]byte{0x70, 255, 0, 0x71, 255, 3, 0x72, 255, 9, 0x7d, 255, 255, 'x'}, uint32(1000), true)
	f.Fuzz(func(t *testing.T, b []byte, dict uint32, folded bool) {
		if folded {
			b = unfold(b)
		}
		check(t, &e, b, int(dict)%(len(b)+1))
	})
}
