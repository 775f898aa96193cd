package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/deflate"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lzma"
	"github.com/rules-strata/rules_strata/tool/narfile"
)

// child is this program as a process of its own that does one thing:
//
//	sha256 FILE...       hashes the files
//	copy OUT FILE...     copies them into one
//	gzip FILE...         deflates them into nothing, in pieces as layers have them
//	zstd FILE...         compresses them into nothing, as one stream, with the library, level and options of layers
//	unxz FILE...         decompresses each into nothing, with what reads NARs
//	unzstd FILE...
//	engine DIR CACHE COMPRESSION OUT PROFILE
//	                     makes a layer of the corpus in DIR, from the NARs in one of its binary caches, into OUT
//	                     (or nothing if that is "-"), and writes a CPU profile unless PROFILE is "-"
//
// The files are read in large pieces, nothing is done side by side but what the libraries do.
func child(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("child: want an operation and its arguments")
	}
	op, files := args[0], args[1:]
	switch op {
	case "sha256":
		h := sha256.New()
		return eachFile(files, func(r io.Reader) error { return pump(h, r) })
	case "copy":
		out, err := os.Create(files[0])
		if err != nil {
			return err
		}
		defer out.Close()
		if err := eachFile(files[1:], func(r io.Reader) error { return pump(out, r) }); err != nil {
			return err
		}
		return out.Close()
	case "gzip":
		const size, dict = 1 << 20, 16 << 10
		var z deflate.Encoder
		var out []byte
		in := make([]byte, dict+size)
		known := 0
		return eachFile(files, func(r io.Reader) error {
			for {
				n, err := io.ReadFull(r, in[known:known+size])
				if n > 0 {
					out = z.Append(out[:0], in[:known+n], known, false)
					known = copy(in, in[max(0, known+n-dict):known+n])
				}
				if err == io.EOF || err == io.ErrUnexpectedEOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
	case "zstd":
		z, err := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithAllLitEntropyCompression(true))
		if err != nil {
			return err
		}
		if err := eachFile(files, func(r io.Reader) error { return pump(z, r) }); err != nil {
			return err
		}
		return z.Close()
	case "unxz":
		z := lzma.NewXZReader(narfile.MaxWindow)
		return eachFile(files, func(r io.Reader) error {
			z.Reset(r)
			return pump(io.Discard, z)
		})
	case "unzstd":
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
		defer z.Close()
		return eachFile(files, func(r io.Reader) error {
			if err := z.Reset(r); err != nil {
				return err
			}
			return pump(io.Discard, z)
		})
	case "engine":
		if len(files) != 5 {
			return fmt.Errorf("child engine: want DIR CACHE COMPRESSION OUT PROFILE")
		}
		return engine(files[0], files[1], files[2], files[3], files[4])
	}
	return fmt.Errorf("child: operation %q is not known", op)
}

// eachFile gives each of the files to do; one that begins with "@" is a list of such.
func eachFile(files []string, do func(io.Reader) error) error {
	for _, name := range files {
		if list, ok := strings.CutPrefix(name, "@"); ok {
			text, err := os.ReadFile(list)
			if err != nil {
				return err
			}
			if err := eachFile(strings.Fields(string(text)), do); err != nil {
				return err
			}
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = do(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

var pumpBuffer = make([]byte, 1<<20)

// pump moves all bytes by reads and writes: io.Copy would have the kernel copy files.
func pump(w io.Writer, r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, pumpBuffer)
	return err
}

// engine makes a layer in this process.
func engine(dir, cache, compression, out, profile string) error {
	c, err := loadCorpus(dir)
	if err != nil {
		return err
	}
	var nars []layer.NAR
	for _, p := range c.paths {
		info := p.infos[cache]
		if info == nil {
			return fmt.Errorf("child engine: no cache %q", cache)
		}
		nars = append(nars, layer.NAR{
			File: narfile.File{
				StorePath: p.path, Compression: info.Compression,
				FileHash: info.FileHash, FileSize: info.FileSize, NarHash: info.NarHash, NarSize: info.NarSize,
			},
			Open: func(context.Context) (io.ReadCloser, error) { return os.Open(c.narFile(p, cache)) },
		})
	}
	sink := io.Discard
	if out != "-" {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		sink = f
	}
	if profile != "-" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	_, err = layer.Write(context.Background(), sink, nars, layer.Options{Compression: compression})
	return err
}
