package runlayer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// whiteoutPrefix is what a name begins with that stands for something removed (OCI image-spec, layer.md, "Whiteouts").
const whiteoutPrefix = ".wh."

// change is an entry of the layer.
type change struct {
	entry    layer.Entry
	from     string // where a file's contents are
	whiteout bool
	// Of a file with several names.
	ino    uint64
	shared bool
}

// comparison finds what is different in a tree.
type comparison struct {
	ctx    context.Context
	tree   *tree
	hidden []string
	out    []change
	buf    []byte
}

// changes compares the tree on the disk with the one before, hidden directories left out.
func (t *tree) changes(ctx context.Context, hidden []string) ([]change, error) {
	c := &comparison{ctx: ctx, tree: t, hidden: hidden, buf: make([]byte, 256<<10)}
	is, err := identify(t.dir)
	if err != nil {
		return nil, err
	}
	root, _, err := c.entry("", t.dir, t.root, &is)
	if err != nil {
		return nil, err
	}
	if root.Mode != t.root.mode || root.Owner.UID != t.root.uid || root.Owner.GID != t.root.gid || !slices.Equal(root.Xattrs, t.root.xattrs) {
		return nil, errors.New("the command changed the mode, owner or attributes of /, which has no entry in a layer of its own: leave the root as it is")
	}
	return c.out, c.directory("", t.dir, t.root)
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// directory compares what is in a directory; before may be nil.
func (c *comparison) directory(path, at string, before *node) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	entries, err := os.ReadDir(at) // Sorted by name.
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	if before != nil {
		for _, name := range sortedNames(before.children) {
			old := before.children[name]
			if p := join(path, name); !there[name] && !old.absent && !old.made && !slices.Contains(c.hidden, p) {
				c.out = append(c.out, change{entry: layer.Entry{Name: join(path, whiteoutPrefix+name), Type: layer.TypeRegular}, whiteout: true})
			}
		}
	}
	for _, e := range entries {
		p := join(path, e.Name())
		if slices.Contains(c.hidden, p) {
			continue
		}
		var old *node
		if before != nil {
			old = before.children[e.Name()]
		}
		if err := c.name(p, at+"/"+e.Name(), old); err != nil {
			return err
		}
	}
	return nil
}

// name compares what has a name, and all that is in it.
func (c *comparison) name(path, at string, old *node) error {
	fault := func(err error) error {
		if err != nil {
			err = fmt.Errorf("/%s: %w", path, err)
		}
		return err
	}
	is, err := identify(at)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return fmt.Errorf("/%.100s…: the command made directories that are too deep: want paths of at most %d bytes", path, unix.PathMax-1-len(c.tree.dir))
	}
	if err != nil {
		return fault(err)
	}
	kind, ok := kindOf(is.mode)
	if !ok {
		return fault(c.gone(old)) // Sockets are of no use to anyone later.
	}
	if kind != layer.TypeDirectory && old != nil && !old.absent && is == old.was {
		return nil
	}
	if i := strings.LastIndexByte(path, '/') + 1; strings.HasPrefix(path[i:], whiteoutPrefix) {
		return fault(errors.New("the command made a name that begins with .wh., which container runtimes take for an order to remove a file; call it something else"))
	}
	if kind == layer.TypeCharDevice || kind == layer.TypeBlockDevice {
		return fault(fmt.Errorf("the command made a %s, which a layer of this kind can't have", kind))
	}
	if kind != layer.TypeDirectory {
		e, same, err := c.entry(path, at, old, &is)
		if err == nil && !same {
			c.out = append(c.out, change{entry: *e, from: at, ino: is.ino, shared: is.nlink > 1 && kind == layer.TypeRegular})
		}
		return fault(err)
	}
	e, same, err := c.entry(path, at, old, &is)
	if err != nil {
		return fault(err)
	}
	i := len(c.out)
	c.out = append(c.out, change{entry: *e})
	if old != nil && old.children == nil {
		old = nil
	}
	if err := c.directory(path, at, old); err != nil {
		return err
	}
	if same && len(c.out) == i+1 {
		c.out = c.out[:i]
	}
	return nil
}

// gone is for what no layer can hold, in the place of something that was there.
func (c *comparison) gone(old *node) error {
	if old == nil || old.absent || old.made {
		return nil
	}
	return errors.New("the command put a socket into the place of something else, which a layer can't have: remove it in the end")
}

// entry makes the entry of what is at a path, and says whether all of it is as before.
func (c *comparison) entry(path, at string, old *node, is *identity) (e *layer.Entry, same bool, err error) {
	kind, _ := kindOf(is.mode)
	e = &layer.Entry{Name: path, Type: kind, Mode: is.mode & 0o7777, Owner: layer.Owner{UID: is.uid, GID: is.gid}}
	if old != nil && (old.absent || old.kind != kind) {
		old = nil
	}
	if n := c.tree.foreign[is.ino]; n != nil && is.sameInode(&n.was) { // The image's still, wherever it is now.
		if is.uid == n.was.uid {
			e.Owner.UID = n.uid
		}
		if is.gid == n.was.gid {
			e.Owner.GID = n.gid
		}
	}
	if kind == layer.TypeSymlink {
		if e.Link, err = os.Readlink(at); err != nil {
			return nil, false, err
		}
	} else if e.Xattrs, err = readXattrs(at); err != nil {
		return nil, false, err
	}
	same = old != nil && e.Mode == old.mode && e.Owner.UID == old.uid && e.Owner.GID == old.gid &&
		e.Link == old.target && slices.Equal(e.Xattrs, old.xattrs)
	if kind == layer.TypeRegular {
		e.Size = int64(is.size)
		same = same && e.Size == old.size
		if same {
			sum, err := c.sum(at)
			if err != nil {
				return nil, false, err
			}
			same = sum == old.sum
		}
	}
	return e, same, nil
}

func (c *comparison) sum(at string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(at)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, c.buf); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}

// setOwners gives entries to those whom rules say. One that matches nothing is an error.
func setOwners(changes []change, rules []OwnerRule) error {
	owners, err := parseOwners(rules)
	if err != nil {
		return err
	}
	for _, r := range owners {
		found := false
		for i := range changes {
			if c := &changes[i]; !c.whiteout && r.Pattern.Match([]byte(c.entry.Name)) {
				c.entry.Owner = r.Owner
				found = true
			}
		}
		if !found {
			return fmt.Errorf("owners: %q matches no entry of the layer", r.Pattern)
		}
	}
	return nil
}

// writeChanges writes the layer's entries. Of a file with several names that are in the layer, the first has the contents.
func writeChanges(ctx context.Context, t *layer.Tar, changes []change, mtime int64) error {
	first := map[uint64]string{}
	for i := range changes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c := &changes[i]
		e := c.entry
		e.MtimeUnix = mtime
		if e.Owner.UID == 0 && e.Owner.UserName == "" {
			e.Owner.UserName = rootName
		}
		if e.Owner.GID == 0 && e.Owner.GroupName == "" {
			e.Owner.GroupName = rootName
		}
		if c.shared {
			if name, ok := first[c.ino]; ok {
				e.Type, e.Link, e.Size = layer.TypeLink, name, 0
			} else {
				first[c.ino] = e.Name
			}
		}
		if err := addEntry(t, &e, c.from); err != nil {
			return fmt.Errorf("/%s: %w", e.Name, err)
		}
	}
	return nil
}

// rootName is what user and group 0 are called, as in the layers of files.
const rootName = "root"

func addEntry(t *layer.Tar, e *layer.Entry, from string) error {
	if e.Type != layer.TypeRegular || e.Size == 0 {
		return t.Add(e, nil)
	}
	f, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.Add(e, f)
}
