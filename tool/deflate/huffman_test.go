package deflate

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// huffmanCost returns how many bits the best code takes for those frequencies, as it is in textbooks: the weights of all
// inner nodes of the tree.
func huffmanCost(freq []uint32) (cost int) {
	var w []int
	for _, f := range freq {
		if f > 0 {
			w = append(w, int(f))
		}
	}
	if len(w) == 1 {
		return w[0]
	}
	for len(w) > 1 {
		slices.Sort(w)
		w[1] += w[0]
		w = w[1:]
		cost += w[0]
	}
	return cost
}

func TestLengths(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 7))
	var h huffman
	unlimited, limited := 0, 0
	for range 3000 {
		size, limit := numLitLens, maxCodeLength
		switch rnd.IntN(3) {
		case 0:
			size = numDists
		case 1:
			size, limit = 19, 7
		}
		freq := make([]uint32, size)
		used := rnd.IntN(size + 1)
		for range used {
			freq[rnd.IntN(size)] = 1 << rnd.IntN(14) >> rnd.IntN(14)
		}
		if rnd.IntN(4) == 0 { // Fibonacci's numbers make the deepest trees.
			a, b := uint32(1), uint32(1)
			for i := 0; i < min(used, 26); i++ {
				freq[i], a, b = a, b, a+b
			}
		}
		length := make([]uint8, size)
		h.lengths(length, freq, limit)

		room, cost, symbols := 0, 0, 0
		for s, l := range length {
			if int(l) > limit || freq[s] > 0 && l == 0 {
				t.Fatalf("%v: symbol %d has %d bits", freq, s, l)
			}
			if l > 0 {
				room += 1 << (limit - int(l))
			}
			if freq[s] > 0 {
				symbols++
			}
			cost += int(freq[s]) * int(l)
		}
		if room != 1<<limit {
			t.Fatalf("%v: the code %v isn't complete", freq, length)
		}
		best := huffmanCost(freq)
		switch {
		case int(slices.Max(length)) < limit && cost != best:
			t.Fatalf("%v: %d bits, want %d", freq, cost, best)
		case int(slices.Max(length)) < limit:
			unlimited++
		case cost > best+best/5 && symbols > 2:
			t.Fatalf("%v: %d bits, %d without a limit", freq, cost, best)
		default:
			limited++
		}
	}
	if unlimited < 500 || limited < 100 {
		t.Errorf("%d codes have no symbol at the limit, %d have", unlimited, limited)
	}
}

// No code is the beginning of another one, and codes of a length ascend with their symbols (3.2.2).
func TestCodes(t *testing.T) {
	// The example of 3.2.2: ABCDEFGH.
	length := []uint8{3, 3, 3, 3, 3, 2, 4, 4}
	want := []uint16{0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111}
	got := make([]uint16, len(length))
	codes(got, length)
	for s, c := range got {
		if c := bits.Reverse16(c) >> (16 - length[s]); c != want[s] {
			t.Errorf("symbol %d: %b, want %b", s, c, want[s])
		}
	}
}

func TestLog2(t *testing.T) {
	for x := uint32(1); x < 1<<21; x += 1 + x>>9 {
		want := math.Log2(float64(x)) * 65536
		if got := float64(log2(x)); got > want || got < want-200 {
			t.Fatalf("log2(%d) = %v/65536, want %v", x, got, want)
		}
	}
}
