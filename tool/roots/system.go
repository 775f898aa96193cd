package roots

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// A channel's list has the store paths of all its systems, which differ in
// nothing but the hash. Which is which, their programs tell: so the NARs are read
// in the project's caches until the first program comes. A cache that lies
// here can have a path of another system chosen out of the list, and no more: what is chosen
// the lock and the build check like all else.

const (
	// maxLooks bounds the NARs that are looked into for one store path: its own, and,
	// where there is no program in it, those of what it refers to.
	maxLooks = 32
	// maxLookSize bounds what is read of them, in bytes: unpacked, and before the first program.
	maxLookSize = 1 << 30
	// maxLooking is how many are looked at once: each may need its window to decompress.
	maxLooking = 8
	// maxTwins bounds the paths of one name that are looked into.
	maxTwins = 16
)

// machine is what programs are made for, as the head of an ELF file says it (System V ABI, "ELF Header").
type machine struct {
	class, data byte // 1 or 2: 32 or 64 bits; 1 or 2: little or big endian
	number      uint16
}

// machines are those of the systems that images can be for.
var machines = map[string]machine{
	"aarch64-linux":     {2, 1, 183},
	"armhf-linux":       {1, 1, 40},
	"armv6l-linux":      {1, 1, 40},
	"armv7l-linux":      {1, 1, 40},
	"i686-linux":        {1, 1, 3},
	"loongarch64-linux": {2, 1, 258},
	"mips64el-linux":    {2, 1, 8},
	"powerpc64le-linux": {2, 1, 21},
	"riscv64-linux":     {2, 1, 243},
	"s390x-linux":       {2, 2, 22},
	"x86_64-linux":      {2, 1, 62},
}

// headSize is how much of a program tells its machine.
const headSize = 20

// machineOf returns the machine of the program that begins with head; ok
// if it is a program. Those of macOS are of no machine here.
func machineOf(head [headSize]byte) (m machine, ok bool) {
	switch string(head[:4]) {
	case "\x7fELF":
	case "\xcf\xfa\xed\xfe": // Mach-O, 64 bits
		return machine{}, true
	default:
		return machine{}, false
	}
	m = machine{class: head[4], data: head[5]}
	if m.data == 2 {
		m.number = binary.BigEndian.Uint16(head[18:])
	} else {
		m.number = binary.LittleEndian.Uint16(head[18:])
	}
	return m, true
}

// look is what a look at a store path showed.
type look struct {
	// program: there is one, for machine.
	program bool
	machine machine
	// narHash is the NAR's; zero if no cache has it.
	narHash store.Hash
	err     error
}

// ofSystem returns those of paths that are for system, as far as that shows. If they are
// all the same, and hold no program at all, it is one of them.
func ofSystem(paths []store.Path, system string, looks map[store.Path]look) ([]store.Path, error) {
	var found []store.Path
	same := true
	for _, p := range paths {
		l := looks[p]
		if l.err != nil {
			return nil, l.err
		}
		if l.program && l.machine == machines[system] {
			found = append(found, p)
		}
		same = same && !l.program && !l.narHash.IsZero() && l.narHash == looks[paths[0]].narHash
	}
	if same {
		return paths[:1], nil
	}
	return found, nil
}

// lookAll looks at each of paths, several at once.
func (v *resolver) lookAll(ctx context.Context, paths []store.Path) map[store.Path]look {
	todo := make(chan store.Path)
	looks := map[store.Path]look{}
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range min(maxLooking, len(paths)) {
		workers.Go(func() {
			looker := looker{p: v.p, client: v.o.Client, count: v.count}
			defer looker.nar.Close()
			for path := range todo {
				l := looker.look(ctx, path)
				mu.Lock()
				looks[path] = l
				mu.Unlock()
			}
		})
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) { // Roots of several systems have the same.
		todo <- path
	}
	close(todo)
	workers.Wait()
	return looks
}

// looker looks into NARs, one after the other.
type looker struct {
	p      *project.Project
	client *fetch.Client
	nar    narfile.Reader
	count  func(n int) // is told of bytes of NARs
}

// look looks for a program in path, and, where there is none, in what it refers to.
func (v *looker) look(ctx context.Context, path store.Path) (l look) {
	queue := []store.Path{path}
	left := int64(maxLookSize)
	for i := 0; i < len(queue) && left > 0; i++ {
		info, url, err := v.narinfo(ctx, queue[i])
		if err != nil {
			return look{err: err}
		}
		if info == nil {
			continue
		}
		if i == 0 {
			l.narHash = info.NarHash
		}
		if l.machine, l.program, err = v.firstProgram(ctx, info, url, &left); err != nil {
			return look{err: fmt.Errorf("%s: %w", queue[i], err)}
		}
		if l.program {
			break
		}
		for _, r := range info.References {
			if len(queue) < maxLooks && !slices.Contains(queue, r) {
				queue = append(queue, r)
			}
		}
	}
	return l
}

// narinfo returns what the first of the caches that has path says of it, and that cache's URL; nil if none has it.
func (v *looker) narinfo(ctx context.Context, path store.Path) (*narinfo.Info, string, error) {
	for _, c := range v.p.Caches {
		base := strings.TrimRight(c.URL, "/") + "/"
		b, err := v.client.Get(ctx, base+path.HashPart()+".narinfo", narinfo.MaxSize)
		if errors.Is(err, fetch.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		info, err := narinfo.Parse(b)
		if err == nil && info.StorePath != path {
			err = fmt.Errorf("the narinfo is about another path: %s", info.StorePath)
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %s: %w", path, fetch.Redact(base+path.HashPart()+".narinfo"), err)
		}
		return info, base, nil
	}
	return nil, "", nil
}

// firstProgram returns the machine of the first program in a NAR; not ok if there is none. It takes what it reads off left.
func (v *looker) firstProgram(ctx context.Context, info *narinfo.Info, base string, left *int64) (machine, bool, error) {
	if narfile.CheckCompression(info.Compression) != nil || info.NarSize > *left {
		return machine{}, false, nil
	}
	in, err := v.client.Open(ctx, base+info.URL)
	if err != nil {
		return machine{}, false, err
	}
	defer in.Close()
	if err := v.nar.Reset(counter{in, v.count}, narfile.File{
		StorePath: info.StorePath, Compression: info.Compression, FileHash: info.FileHash, FileSize: info.FileSize,
		NarHash: info.NarHash, NarSize: info.NarSize,
	}); err != nil {
		return machine{}, false, err
	}
	entries := nar.NewReader(&v.nar)
	defer func() { *left -= entries.Offset() }()
	for {
		e, err := entries.Next()
		if err == io.EOF {
			return machine{}, false, nil
		}
		if err != nil {
			return machine{}, false, err
		}
		if e.Kind != nar.Regular || e.Size < headSize {
			continue
		}
		var head [headSize]byte
		if _, err := io.ReadFull(entries, head[:]); err != nil {
			return machine{}, false, err
		}
		if m, ok := machineOf(head); ok {
			return m, true, nil
		}
	}
}

// counter tells of bytes that pass.
type counter struct {
	r    io.Reader
	tell func(n int)
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.tell(n)
	return n, err
}
