package runlayer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
)

// idRange are ids of a user namespace and what they are outside of it.
type idRange struct{ Inside, Outside, Count uint32 }

type idRanges []idRange

// idMaps are the ids that a process has.
type idMaps struct{ users, groups idRanges }

// currentIDs reads this process' own.
func currentIDs() (m idMaps, err error) {
	if m.users, err = readIDMap("/proc/self/uid_map"); err == nil {
		m.groups, err = readIDMap("/proc/self/gid_map")
	}
	return m, err
}

func readIDMap(name string) (out idRanges, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		var r idRange
		if _, err := fmt.Sscan(line, &r.Inside, &r.Outside, &r.Count); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, line, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (r idRanges) has(id uint32) bool {
	for _, one := range r {
		if id >= one.Inside && id-one.Inside < one.Count {
			return true
		}
	}
	return false
}

// known is id, or 0 where a file can't be given to it.
func (r idRanges) known(id uint32) int {
	if r.has(id) {
		return int(id)
	}
	return 0
}

// single reports whether there is hardly more than one id.
func (r idRanges) single() bool {
	n := uint64(0)
	for _, one := range r {
		n += uint64(one.Count)
	}
	return n <= 1
}

// helpers are the programs that map ids which an administrator has given to a user.
var helpers = [2]struct{ program, file, proc string }{
	{"newuidmap", "/etc/subuid", "uid_map"},
	{"newgidmap", "/etc/subgid", "gid_map"},
}

// subordinateIDs are the maps that the helpers would set: the user becomes root, the ids of /etc/subuid and /etc/subgid follow.
// False: the user has none, or there are no helpers.
func subordinateIDs() (idMaps, bool) {
	var maps [2]idRanges
	own := [2]int{os.Geteuid(), os.Getegid()}
	for i, h := range helpers {
		if _, err := exec.LookPath(h.program); err != nil {
			return idMaps{}, false
		}
		names := []string{strconv.Itoa(os.Geteuid())}
		if u, err := user.LookupId(names[0]); err == nil {
			names = append(names, u.Username)
		}
		b, err := os.ReadFile(h.file)
		if err != nil {
			return idMaps{}, false
		}
		maps[i] = idRanges{{0, uint32(own[i]), 1}}
		next := uint32(1)
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			f := strings.Split(s.Text(), ":")
			if len(f) != 3 || f[0] != names[0] && f[0] != names[len(names)-1] {
				continue
			}
			start, err1 := strconv.ParseUint(f[1], 10, 32)
			count, err2 := strconv.ParseUint(f[2], 10, 32)
			if errors.Join(err1, err2) != nil || count == 0 || start+count > 1<<32 || uint64(next)+count >= 1<<32 {
				continue
			}
			maps[i] = append(maps[i], idRange{next, uint32(start), uint32(count)})
			next += uint32(count)
		}
		if len(maps[i]) == 1 {
			return idMaps{}, false
		}
	}
	return idMaps{maps[0], maps[1]}, true
}

// setIDs has the helpers set the maps of a process in a user namespace of its own.
func setIDs(pid int, m idMaps) error {
	for i, ranges := range []idRanges{m.users, m.groups} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range ranges {
			for _, n := range []uint32{r.Inside, r.Outside, r.Count} {
				args = append(args, strconv.FormatUint(uint64(n), 10))
			}
		}
		if out, err := exec.Command(helpers[i].program, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", helpers[i].program, err, bytes.TrimSpace(out))
		}
	}
	return nil
}
