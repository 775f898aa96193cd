package lzma

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// plain decodes LZMA2 as lzma-specification.txt of the LZMA SDK tells it, a bit at a time and with all
// data as its dictionary. It is what the fast decoder is tested against.
type plain struct {
	in, out    []byte
	start      int // of the dictionary, in out
	rng, code  uint32
	lc, lp, pb int
	state      int
	rep        [4]int
	probs      map[string]*[1 << 14]int
}

var errPlain = errors.New("plain: damaged")

func (d *plain) next() uint32 {
	if len(d.in) == 0 {
		panic(errPlain)
	}
	b := d.in[0]
	d.in = d.in[1:]
	return uint32(b)
}

func (d *plain) norm() {
	if d.rng < 1<<24 {
		d.rng, d.code = d.rng<<8, d.code<<8|d.next()
	}
}

// bit decodes a bit of the model's i-th probability, which all begin at a half.
func (d *plain) bit(model string, i int) int {
	probs := d.probs[model]
	if probs == nil {
		probs = new([1 << 14]int)
		d.probs[model] = probs
	}
	d.norm()
	p := probs[i] + 1<<10
	bound := d.rng >> 11 * uint32(p)
	if d.code < bound {
		d.rng = bound
		probs[i] += (1<<11 - p) >> 5
		return 0
	}
	d.rng -= bound
	d.code -= bound
	probs[i] -= p >> 5
	return 1
}

func (d *plain) tree(model string, at, bits int) int {
	v := 1
	for range bits {
		v = v<<1 | d.bit(model, at<<bits|v)
	}
	return v - 1<<bits
}

func (d *plain) reversed(model string, at, bits int) (v int) {
	m := 1
	for i := range bits {
		b := d.bit(model, at+m)
		m = m<<1 | b
		v |= b << i
	}
	return v
}

func (d *plain) length(model string, posState int) int {
	if d.bit(model+" choice", 0) == 0 {
		return 2 + d.tree(model+" low", posState, 3)
	}
	if d.bit(model+" choice", 1) == 0 {
		return 10 + d.tree(model+" mid", posState, 3)
	}
	return 18 + d.tree(model+" high", 0, 8)
}

func (d *plain) distance(length int) int {
	slot := d.tree("slot", min(length-2, 3), 6)
	if slot < 4 {
		return slot
	}
	n := slot/2 - 1
	dist := (2 | slot&1) << n
	if slot < 14 {
		return dist + d.reversed("dist", dist-slot, n)
	}
	for i := n - 1; i >= 4; i-- {
		d.norm()
		d.rng /= 2
		if d.code >= d.rng {
			d.code -= d.rng
			dist += 1 << i
		}
	}
	return dist + d.reversed("align", 0, 4)
}

func (d *plain) literal(total int) byte {
	before := 0
	if total > 0 {
		before = int(d.out[len(d.out)-1])
	}
	at := (total&(1<<d.lp-1)<<d.lc + before>>(8-d.lc)) * 0x300
	v := 1
	if d.state >= 7 {
		for hint := int(d.out[len(d.out)-d.rep[0]-1]); v < 0x100; hint <<= 1 {
			want := hint >> 7 & 1
			b := d.bit("literal", at+(1+want)<<8+v)
			v = v<<1 | b
			if b != want {
				break
			}
		}
	}
	for v < 0x100 {
		v = v<<1 | d.bit("literal", at+v)
	}
	return byte(v)
}

// symbol decodes a symbol into at most limit bytes.
func (d *plain) symbol(dictSize, limit int) {
	total := len(d.out) - d.start
	posState := total & (1<<d.pb - 1)
	after := func(literal, match int) {
		if d.state >= 7 {
			literal = match
		}
		d.state = literal
	}
	if d.bit("match", d.state<<4|posState) == 0 {
		d.out = append(d.out, d.literal(total))
		d.state = []int{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}[d.state]
		return
	}
	n := 1
	switch {
	case d.bit("rep", d.state) == 0:
		n = d.length("match", posState)
		d.rep[1], d.rep[2], d.rep[3] = d.rep[0], d.rep[1], d.rep[2]
		d.rep[0] = d.distance(n)
		after(7, 10)
	case d.bit("rep0", d.state) == 0:
		if d.bit("long", d.state<<4|posState) == 0 {
			after(9, 11)
			break
		}
		n = d.length("rep", posState)
		after(8, 11)
	default:
		i := 1
		if d.bit("rep1", d.state) != 0 {
			i = 2 + d.bit("rep2", d.state)
		}
		dist := d.rep[i]
		copy(d.rep[1:i+1], d.rep[:i])
		d.rep[0] = dist
		n = d.length("rep", posState)
		after(8, 11)
	}
	if d.rep[0] >= min(total, dictSize) || n > limit {
		panic(errPlain)
	}
	for range n {
		d.out = append(d.out, d.out[len(d.out)-d.rep[0]-1])
	}
}

// plainLZMA2 decodes an LZMA2 stream and returns what is decoded of it.
func plainLZMA2(in []byte, dictSize, maxSize int) (out []byte, err error) {
	d := plain{in: in}
	defer func() {
		if e := recover(); e != nil {
			if e != errPlain {
				panic(e)
			}
			out, err = d.out, errPlain
		}
	}()
	needDict, needProps, needReset := true, true, true
	for len(d.out) < maxSize {
		control := d.next()
		if control == 0 {
			return d.out, nil
		}
		if control == 1 || control >= 0xe0 {
			d.start = len(d.out)
			needDict, needProps = false, true
		}
		if needDict || control > 2 && control < 0x80 {
			return d.out, errPlain
		}
		size := int(d.next()<<8|d.next()) + 1
		if control <= 2 {
			for range size {
				d.out = append(d.out, byte(d.next()))
			}
			continue
		}
		size += int(control&0x1f) << 16
		packed := int(d.next()<<8|d.next()) + 1
		if control >= 0xc0 {
			p := int(d.next())
			d.lc, d.lp, d.pb = p%9, p/9%5, p/45
			if d.lc+d.lp > 4 || d.pb > 4 {
				return d.out, errPlain
			}
			needProps = false
		}
		if control >= 0xa0 {
			d.state, d.rep, d.probs = 0, [4]int{}, map[string]*[1 << 14]int{}
			needReset = false
		}
		if needProps || needReset || packed > len(d.in) {
			return d.out, errPlain
		}
		rest := d.in[packed:]
		d.in = d.in[:packed]
		if d.next() != 0 {
			return d.out, errPlain
		}
		d.rng, d.code = 0xffffffff, 0
		for range 4 {
			d.code = d.code<<8 | d.next()
		}
		for end := len(d.out) + size; len(d.out) < end; {
			d.symbol(dictSize, end-len(d.out))
		}
		d.norm()
		if len(d.in) != 0 || d.code != 0 {
			return d.out, errPlain
		}
		d.in = rest
	}
	return d.out, nil
}

// fastLZMA2 decodes it with the decoder that is used.
func fastLZMA2(d *decoder, in io.Reader, dictSize, maxSize int) (out []byte, err error) {
	d.in.reset(in)
	c := chunks{d: d}
	c.reset(dictSize)
	for len(out) < maxSize {
		b, err := c.next()
		if err != nil || len(b) == 0 {
			return out, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// compare decodes in with both, and with the fast one in several ways.
func compare(t *testing.T, used *decoder, in []byte, dictSize int) (size int, err error) {
	t.Helper()
	const maxSize = 1 << 20
	want, wantErr := plainLZMA2(in, dictSize, maxSize)
	for how, r := range map[string]io.Reader{
		"whole": bytes.NewReader(in), "byte for byte": iotest.OneByteReader(bytes.NewReader(in)), "with its end": iotest.DataErrReader(bytes.NewReader(in)),
	} {
		d := used
		if how == "whole" {
			d = new(decoder)
		}
		got, err := fastLZMA2(d, r, dictSize, maxSize)
		n := min(len(got), len(want))
		switch {
		case !bytes.Equal(got[:n], want[:n]):
			t.Fatalf("%s: other data", how)
		case len(want) >= maxSize: // Both stopped somewhere behind it.
		case (err == nil) != (wantErr == nil):
			t.Fatalf("%s: got %d bytes, %v; want %d bytes, %v", how, len(got), err, len(want), wantErr)
		case err == nil && len(got) != len(want):
			t.Fatalf("%s: got %d bytes, want %d", how, len(got), len(want))
		case len(got) > len(want):
			t.Fatalf("%s: got %d bytes before %v, want at most %d", how, len(got), err, len(want))
		}
	}
	return len(want), wantErr
}

// streams are LZMA2 streams that xz wrote, and the sizes of their dictionaries.
func streams(t testing.TB) map[string]int {
	t.Helper()
	names, err := filepath.Glob("testdata/*.lzma2")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d streams, %v", len(names), err)
	}
	all := map[string]int{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dict := 1 << 16
		if filepath.Base(name)[:5] == "dict-" {
			dict = 1 << 12
		}
		all[string(b)] = dict
	}
	return all
}

// The fast decoder makes of each stream what the plain one makes, also where it is damaged.
func TestDecoder_Reference(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var used decoder
	good, bad := 0, 0
	for in, dict := range streams(t) {
		if _, err := compare(t, &used, []byte(in), dict); err != nil {
			t.Errorf("a good stream: %v", err)
		}
		for range 25 {
			damaged := []byte(in)
			// Late damage leaves much to decode.
			for range 1 + rnd.IntN(2) {
				damaged[max(rnd.IntN(len(in)), rnd.IntN(len(in)))] ^= 1 << rnd.IntN(8)
			}
			if _, err := compare(t, &used, damaged, dict); err != nil {
				bad++
			} else {
				good++
			}
		}
		for range 8 {
			if _, err := compare(t, &used, []byte(in[:rnd.IntN(len(in))]), dict); err == nil {
				t.Error("a stream that is cut is taken")
			}
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%d of the damaged streams were taken, and %d refused", good, bad)
	}
}

// A stream that begins as that of another dictionary ended finds nothing of it.
func TestDecoder_EmptyDictionary(t *testing.T) {
	var d decoder
	for in := range streams(t) {
		if _, err := fastLZMA2(&d, bytes.NewReader([]byte(in)), 1<<16, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	// A chunk with all reset whose first symbol is a match: 0xff as far as it goes.
	in := append([]byte{0xe0, 0, 9, 0, 24, 93, 0}, bytes.Repeat([]byte{0xff}, 24)...)
	if got, err := fastLZMA2(&d, bytes.NewReader(in), 1<<16, 1<<20); len(got) > 0 || err != errCorrupt {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// FuzzDecoder: whatever the LZMA2 stream, both decoders make the same of it. The first byte chooses the dictionary.
func FuzzDecoder(f *testing.F) {
	for in, dict := range streams(f) {
		f.Add(dict > 1<<12, []byte(in))
	}
	var used decoder
	f.Fuzz(func(t *testing.T, large bool, in []byte) {
		dict := 1 << 12
		if large {
			dict = 1 << 16
		}
		_, _ = compare(t, &used, in, dict)
	})
}

// The filters give what they give of the whole at once, in whatever pieces the data come.
func TestFilter_Pieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 5000)
	for i := range data {
		data[i] = []byte{0xe8, 0xe9, 0x00, 0xff, 0x01, 0x90, byte(i)}[rnd.IntN(7)]
	}
	for name, newFilter := range map[string]func() filter{
		"x86":   func() filter { return &x86{pos: 100} },
		"delta": func() filter { return &delta{distance: 256} },
	} {
		whole := bytes.Clone((&filterStage{f: newFilter()}).add(data, true))
		for range 50 {
			s := &filterStage{f: newFilter()}
			var got []byte
			for rest := data; len(rest) > 0; {
				n := min(1+rnd.IntN(12), len(rest))
				got = append(got, s.add(rest[:n], false)...)
				rest = rest[n:]
			}
			if got = append(got, s.add(nil, true)...); !bytes.Equal(got, whole) {
				t.Fatalf("%s: other data in pieces", name)
			}
		}
		if bytes.Equal(whole, data) {
			t.Errorf("%s changes nothing", name)
		}
	}
}
