package runlayer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/flatten"
	"github.com/rules-strata/rules_strata/tool/layer"
)

// What a process is called that Main takes for one of this package's.
const (
	initName = "strata-run-init"
	execName = "strata-run-exec"
)

// Main must be the first that a program does which calls [Write]. In the processes that Write starts it doesn't return.
func Main() {
	switch os.Args[0] {
	case initName:
		os.Exit(initMain())
	case execName:
		os.Exit(execMain())
	}
}

// The files of an init, beside the tar on standard input, the blob on standard output and faults on standard error.
const (
	fdJob     = 3 // the job, JSON
	fdReports = 4 // reports go there, JSON
	fdGate    = 5 // a byte says that the ids are there, if it has to wait for them, and one that the tar was whole
	fdMtree   = 6 // the listing goes there
)

// job is what an init has to do.
type job struct {
	Dir         string // the folder to work in, absolute; it is empty
	Way         way
	Command     []string
	Env         []string
	User        string
	Workdir     string
	TimeLimit   time.Duration
	Scratch     []string
	Stores      []string
	Owners      []OwnerRule
	MtimeUnix   int64
	Compression string
	Level       string
	Workers     int
	Mtree       bool
	// Remove says to do nothing but to remove what is in Dir.
	Remove bool
}

// report is what an init says: that it is ready, or what keeps it from that; then how it went.
type report struct {
	Ready       bool            `json:",omitempty"`
	Unavailable string          `json:",omitempty"`
	Failure     string          `json:",omitempty"`
	Hint        string          `json:",omitempty"`
	Command     *CommandError   `json:",omitempty"`
	Layer       json.RawMessage `json:",omitempty"`
}

func write(ctx context.Context, w io.Writer, s *Spec, image *Image, dir string, o layer.Options) (*digestfile.File, error) {
	return writeIn(ctx, w, s, image, dir, o, ways())
}

// writeIn is Write in the first of some ways that can be had.
func writeIn(ctx context.Context, w io.Writer, s *Spec, image *Image, dir string, o layer.Options, ways []way) (*digestfile.File, error) {
	none := &UnavailableError{Advice: advice()}
	for _, in := range ways {
		work, err := os.MkdirTemp(dir, ".strata-run-*")
		if err != nil {
			return nil, err
		}
		r := &run{spec: s, image: image, out: w, options: o, way: in}
		if r.dir, err = filepath.Abs(work); err != nil {
			return nil, errors.Join(err, os.Remove(work))
		}
		result, err := r.run(ctx)
		if removing := r.remove(); err == nil {
			err = removing
		}
		var unavailable *unavailableError
		if !errors.As(err, &unavailable) {
			return result, err
		}
		none.Reasons = append(none.Reasons, fmt.Sprintf("%s: %s", in, unavailable.reason))
	}
	return nil, none
}

// unavailableError says that a way can't be had, before anything was done.
type unavailableError struct{ reason string }

func (e *unavailableError) Error() string { return e.reason }

// run is one way being tried.
type run struct {
	spec    *Spec
	image   *Image
	dir     string
	out     io.Writer
	options layer.Options
	way     way
}

func (r *run) job() *job {
	return &job{
		Dir: r.dir, Way: r.way, Command: r.spec.Command, Env: r.spec.environment(r.image.Env), User: r.spec.User, Workdir: r.spec.Workdir,
		TimeLimit: r.spec.TimeLimit, Scratch: r.spec.scratch(), Stores: r.image.stores(), Owners: r.spec.Owners, MtimeUnix: r.spec.mtime(),
		Compression: r.options.Compression, Level: r.options.Level, Workers: r.options.Workers, Mtree: r.options.Mtree != nil,
	}
}

// child is an init that was started.
type child struct {
	pid     int
	errors  output     // its standard error
	done    chan error // how it ended
	tar     *os.File
	gate    *os.File
	reports *os.File
	mtree   *os.File
	// theirs are the ends that are the child's.
	theirs []*os.File
}

// start starts an init.
func (r *run) start(ctx context.Context, j *job, stdout io.Writer) (_ *child, err error) {
	c := &child{done: make(chan error, 1)}
	defer func() {
		closeAll(c.theirs...)
		if err != nil {
			c.close()
		}
	}()
	file, err := jsonFile(j)
	if err != nil {
		return nil, err
	}
	c.theirs = append(c.theirs, file)
	pipe := func(read, write **os.File, theirs **os.File) {
		if err == nil {
			if *read, *write, err = os.Pipe(); err == nil {
				c.theirs = append(c.theirs, *theirs)
			}
		}
	}
	var tar, reports, gate, mtree *os.File
	pipe(&tar, &c.tar, &tar)
	pipe(&c.reports, &reports, &reports)
	pipe(&gate, &c.gate, &gate)
	pipe(&c.mtree, &mtree, &mtree)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{initName}
	cmd.Env = []string{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tar, stdout, &c.errors
	cmd.ExtraFiles = []*os.File{file, reports, gate, mtree}
	cmd.SysProcAttr = r.way.attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // It ends all that it has started.
	cmd.WaitDelay = 10 * time.Second
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // An init is killed when the thread ends that started it.
		err := cmd.Start()
		started <- err
		if err == nil {
			c.done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, &unavailableError{startFault(err)}
	}
	c.pid = cmd.Process.Pid
	if r.way.Subordinate {
		ids, _ := subordinateIDs()
		err := setIDs(c.pid, ids)
		if err == nil {
			_, err = c.gate.Write([]byte{0})
		}
		if err != nil {
			c.close()
			<-c.done
			return nil, &unavailableError{err.Error()}
		}
	}
	return c, nil
}

// close closes what the parent has of it.
func (c *child) close() { closeAll(c.tar, c.gate, c.reports, c.mtree) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// run does it all, but for removing what is in the folder.
func (r *run) run(ctx context.Context) (*digestfile.File, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := r.start(ctx, r.job(), r.out)
	if err != nil {
		return nil, err
	}
	defer c.close()
	listed := make(chan error, 1)
	go func() {
		to := r.options.Mtree
		if to == nil {
			to = io.Discard
		}
		_, err := io.Copy(to, c.mtree)
		listed <- err
	}()
	reports := json.NewDecoder(c.reports)
	var first, last report
	sent := error(nil)
	if err := reports.Decode(&first); err == nil && first.Ready {
		done := make(chan error, 1)
		go func() { done <- c.send(ctx, r.image.Layers) }()
		last, _ = readReport(reports) // Without one, how it ended says why.
		c.tar.Close()
		sent = <-done
	} else {
		last = first
	}
	ended := <-c.done
	writing := <-listed
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case sent != nil && !errors.Is(sent, unix.EPIPE) && !errors.Is(sent, os.ErrClosed):
		return nil, sent // A fault of the image.
	case last.Unavailable != "":
		return nil, &unavailableError{last.Unavailable}
	case last.Command != nil:
		return nil, last.Command
	case last.Failure != "":
		return nil, &failure{last.Failure, last.Hint}
	case ended != nil:
		return nil, fmt.Errorf("the process around the command ended: %w: %s", ended, c.errors.Bytes())
	case writing != nil:
		return nil, writing
	case last.Layer == nil:
		return nil, errors.New("the process around the command ended without a word")
	}
	return digestfile.Parse(last.Layer)
}

func readReport(d *json.Decoder) (r report, err error) {
	err = d.Decode(&r)
	return r, err
}

// failure is what an init reports.
type failure struct{ text, hint string }

func (f *failure) Error() string { return f.text }
func (f *failure) Hint() string  { return f.hint }

// send sends the image as one tar, and says at the gate that it was whole.
func (c *child) send(ctx context.Context, layers []flatten.Layer) error {
	defer c.gate.Close()
	w := bufio.NewWriterSize(c.tar, 1<<20)
	err := flatten.Write(ctx, w, layers)
	if err == nil {
		err = w.Flush()
	}
	if closing := c.tar.Close(); err == nil {
		err = closing
	}
	if err == nil {
		_, err = c.gate.Write([]byte{0})
	}
	return err
}

// remove removes the folder, and what the program has left in it.
func (r *run) remove() error {
	if removeTree(r.dir) == nil {
		return nil
	}
	if r.way.Subordinate { // Files of ids that are not the user's own.
		c, err := r.start(context.Background(), &job{Dir: r.dir, Way: r.way, Remove: true}, io.Discard)
		if err == nil {
			c.close()
			<-c.done
		}
	}
	return removeTree(r.dir)
}

// removeTree removes a folder, also where permissions are in the way. Links in it aren't followed.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// jsonFile is a file that nobody else sees with v in it.
func jsonFile(v any) (*os.File, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("strata-run", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readJSON reads the file that jsonFile has made out of one of this process' descriptors.
func readJSON(fd int, v any) error {
	f := os.NewFile(uintptr(fd), "job")
	return json.NewDecoder(io.NewSectionReader(f, 0, 1<<40)).Decode(v)
}

// startFault says why a process in new namespaces could not be started.
func startFault(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		switch e {
		case unix.EPERM:
			return "clone(2) is not permitted" + refusal()
		case unix.ENOSPC, unix.EUSERS:
			return "clone(2): no more namespaces are allowed (sysctl user.max_user_namespaces and its like)"
		case unix.EINVAL:
			return "clone(2): the kernel has not all of these namespaces"
		}
	}
	return err.Error()
}
