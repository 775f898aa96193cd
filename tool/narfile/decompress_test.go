package narfile_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/rules-strata/rules_strata/tool/narfile"
)

// Every form that a NAR may have, any other file may have, too.
func TestDecompress(t *testing.T) {
	nar, _ := webRoot(t)
	for _, c := range forms(t) {
		decompress := func(src io.Reader, max int) ([]byte, error) {
			d, err := narfile.Decompress(src, c.compression, int64(max))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(iotest.OneByteReader(d))
			if n, again := d.Read(make([]byte, 1)); err != nil && (n != 0 || again != err) {
				t.Errorf("%s: after %v, the next Read gives %d, %v", c.name, err, n, again)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if n, err := d.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("%s: a Read behind Close gives %d, %v", c.name, n, err)
			}
			return b, err
		}
		if b, err := decompress(bytes.NewReader(c.data), len(nar)); err != nil || !bytes.Equal(b, nar) {
			t.Errorf("%s: got %d bytes, %v", c.name, len(b), err)
		}
		if b, err := decompress(bytes.NewReader(c.data), len(nar)-1); err == nil || !strings.Contains(err.Error(), "bytes of contents") || !bytes.Equal(b, nar[:len(nar)-1]) {
			t.Errorf("%s, over the limit: got %d bytes, %v", c.name, len(b), err)
		}
		broken := errors.New("the cable is cut")
		part := c.data[:len(c.data)/3]
		if _, err := decompress(io.MultiReader(bytes.NewReader(part), iotest.ErrReader(broken)), len(nar)); !errors.Is(err, broken) {
			t.Errorf("%s, a broken source: got %v", c.name, err)
		}
		if c.compression == "none" {
			continue
		}
		var damaged *narfile.DecodeError
		if _, err := decompress(bytes.NewReader(part), len(nar)); !errors.As(err, &damaged) && !c.open {
			t.Errorf("%s, cut: got %v", c.name, err)
		}
		if _, err := decompress(io.MultiReader(bytes.NewReader(c.data), strings.NewReader("behind")), len(nar)); err == nil {
			t.Errorf("%s, with more behind it, is taken", c.name)
		}
	}
	if _, err := narfile.Decompress(strings.NewReader(""), "zip", 1); err == nil || !strings.Contains(err.Error(), `compression "zip" is not known`) {
		t.Errorf("got %v", err)
	}
}
