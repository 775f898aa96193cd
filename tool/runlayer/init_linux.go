package runlayer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// What is in an init's own folder.
const (
	treeDir  = "tree"  // the image
	asideDir = "aside" // what the image has where the program finds other things
	procDir  = "proc"
	devDir   = "dev"
	selfFile = "self" // a copy of this binary
)

// devOptions bound what is in /dev, /dev/shm for the most part.
const devOptions = "mode=755,size=64m"

// initMain is the process that is the first in the namespaces.
func initMain() int {
	j := new(job)
	if err := readJSON(fdJob, j); err != nil {
		fmt.Fprintf(os.Stderr, "job: %v", err)
		return 1
	}
	gate := os.NewFile(fdGate, "gate")
	if j.Way.Subordinate && len(os.Args) == 1 {
		// The ids come from outside. Until then this process has none, and so no privileges; it gets them by starting again. (It
		// can't see whether they are there: the users' come before the groups'.)
		if _, err := io.ReadFull(gate, make([]byte, 1)); err != nil {
			return 1
		}
		err := unix.Exec("/proc/self/exe", []string{initName, "with ids"}, nil)
		fmt.Fprintf(os.Stderr, "starting again with ids: %v", err)
		return 1
	}
	for fd := fdJob; fd <= fdMtree; fd++ {
		unix.CloseOnExec(fd)
	}
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	unix.Umask(0)
	if j.Remove {
		removeTree(j.Dir)
		return 0
	}
	reports := json.NewEncoder(os.NewFile(fdReports, "reports"))
	in := &initProcess{job: j, gate: gate, family: &family{chroot: j.Way.Chroot}}
	// Chroot alone ends nothing by itself: so an init is told to end, and ends what it has started.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	go func() {
		<-signals
		in.family.end()
		os.Exit(1)
	}()
	if err := in.prepare(); err != nil {
		reports.Encode(report{Unavailable: err.Error()})
		return 1
	}
	if reports.Encode(report{Ready: true}) != nil {
		return 1
	}
	text, err := in.run(context.Background())
	last := report{Layer: text}
	var h interface{ Hint() string }
	switch {
	case errors.As(err, &last.Command):
	case err != nil:
		last.Failure = err.Error()
		if errors.As(err, &h) {
			last.Hint = h.Hint()
		}
	}
	if reports.Encode(last) != nil || err != nil {
		return 1
	}
	return 0
}

// initProcess is an init.
type initProcess struct {
	job    *job
	gate   *os.File
	family *family
}

func (in *initProcess) path(elements ...string) string {
	return filepath.Join(append([]string{in.job.Dir}, elements...)...)
}

// copySelf copies this binary. What becomes the program starts as the copy: as long as a process is that still, and by a script's
// first line it can be again, root in the image can come by it as /proc/PID/exe, and write to it.
func (in *initProcess) copySelf() error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(in.path(selfFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

// prepare makes all that the kernel could forbid.
func (in *initProcess) prepare() error {
	for _, d := range []string{treeDir, asideDir, procDir, devDir} {
		if err := os.Mkdir(in.path(d), 0o755); err != nil {
			return err
		}
	}
	if err := in.copySelf(); err != nil {
		return err
	}
	if in.job.Way.Chroot {
		return in.prepareChroot()
	}
	return in.prepareMounts()
}

// run is the work: from the tar on standard input to the layer on standard output. It returns the layer's digest file.
func (in *initProcess) run(ctx context.Context) ([]byte, error) {
	ids, err := currentIDs()
	if err != nil {
		return nil, err
	}
	t, err := unpack(os.Stdin, in.path(treeDir), ids)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(in.gate, make([]byte, 1)); err != nil {
		return nil, errors.New("the image didn't come whole")
	}
	hidden := append(systemDirs(), in.job.Scratch...)
	for i, name := range hidden {
		mode := uint32(0o755)
		if i >= len(systemDirs()) {
			mode = 0o1777
		}
		if err := t.hide(name, mode, in.path(asideDir, strconv.Itoa(i))); err != nil {
			if i >= len(systemDirs()) {
				err = fmt.Errorf("scratch: %w", err)
			}
			return nil, err
		}
	}
	stores := slices.DeleteFunc(in.job.Stores, func(name string) bool {
		n := t.lookup(name)
		return n == nil || n.children == nil
	})
	if err := in.furnish(stores); err != nil {
		return nil, err
	}
	if err := in.family.run(in.job, in.path(selfFile), in.path(treeDir)); err != nil {
		if c := new(CommandError); errors.As(err, &c) && ids.users.single() {
			c.Advice = "there is but one user id here: the command could give no file to another user, nor become one; to have more, run it as root outside of Bazel's sandbox, " +
				"or give the user ids in /etc/subuid and /etc/subgid; or say owners beside the command"
		}
		return nil, err
	}
	if err := t.haveStores(stores); err != nil {
		return nil, err
	}
	changes, err := t.changes(ctx, append(hidden, stores...))
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, &failure{"the command changed nothing, and an empty layer is none", "what it wrote to directories that are scratch (/tmp, unless others are said) is left out"}
	}
	if err := setOwners(changes, in.job.Owners); err != nil {
		return nil, err
	}
	o := layer.Options{Compression: in.job.Compression, Level: in.job.Level, Workers: in.job.Workers}
	if in.job.Mtree {
		o.Mtree = os.NewFile(fdMtree, "mtree")
	}
	file, err := layer.WriteTar(ctx, os.Stdout, o, func(ctx context.Context, tar *layer.Tar) error {
		return writeChanges(ctx, tar, changes, in.job.MtimeUnix)
	})
	if err != nil {
		return nil, err
	}
	return file.Marshal()
}
