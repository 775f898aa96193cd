package runlayer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// hostname is what the program's machine is called.
const hostname = "localhost"

// devices are those of a minimal /dev, with their numbers (Linux, admin-guide/devices.txt).
var devices = []struct {
	name         string
	major, minor uint32
	optional     bool
}{
	{"null", 1, 3, false},
	{"zero", 1, 5, false},
	{"full", 1, 7, false},
	{"random", 1, 8, false},
	{"urandom", 1, 9, false},
	{"tty", 5, 0, true},
}

// devLinks are the symlinks in /dev.
var devLinks = map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

// Parts of /proc that are about the machine rather than about processes: they can't be written, or are not there.
var (
	procReadOnly = []string{"bus", "fs", "irq", "sys", "sysrq-trigger"}
	procMasked   = []string{"kcore", "keys", "kmsg", "latency_stats", "sched_debug", "timer_list", "timer_stats"}
)

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount(2) of %s: %w", map[bool]string{true: source, false: fstype}[fstype == ""], err)
	}
	return nil
}

// prepareMounts makes /proc and /dev, each in a folder of its own.
func (in *initProcess) prepareMounts() error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w%s", err, refusal())
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("sethostname(2): %w", err)
	}
	loopback() // Where there is none, programs find that out.
	proc, dev := in.path(procDir), in.path(devDir)
	if err := mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%w; a container that hides parts of its own /proc forbids it", err)
	}
	if err := mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, devOptions); err != nil {
		return err
	}
	for _, d := range devices {
		err := bindFile("/dev/"+d.name, filepath.Join(dev, d.name))
		if err != nil && !(d.optional && errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	for _, name := range procReadOnly {
		at := filepath.Join(proc, name)
		if err := unix.Mount(at, at, "", unix.MS_BIND|unix.MS_REC, ""); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return fmt.Errorf("mount(2) of %s: %w", at, err)
		}
		if err := readOnly(at); err != nil {
			return err
		}
	}
	for _, name := range procMasked {
		err := unix.Mount("/dev/null", filepath.Join(proc, name), "", unix.MS_BIND, "")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("mount(2) over /proc/%s: %w", name, err)
		}
	}
	return in.commonDev(dev)
}

// commonDev makes what in /dev is no device.
func (in *initProcess) commonDev(dev string) error {
	for name, target := range devLinks {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	shm := filepath.Join(dev, "shm")
	if err := unix.Mkdir(shm, 0o755); err != nil {
		return err
	}
	return unix.Chmod(shm, 0o1777)
}

// bindFile makes a file at to that is the device at from.
func bindFile(from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	return mount(from, to, "", unix.MS_BIND, "")
}

// loopback brings up the loopback device, all that there is of a network.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
		return err
	}
	r.SetUint16(r.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// prepareChroot makes /dev out of devices, in a folder of its own.
func (in *initProcess) prepareChroot() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_CHILD_SUBREAPER): %w", err)
	}
	dev := in.path(devDir)
	for _, d := range devices {
		at := filepath.Join(dev, d.name)
		if err := unix.Mknod(at, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("mknod(2) of /dev/%s: %w (CAP_MKNOD)", d.name, err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dev, "null"), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("the disk that has %s allows no devices: %w", in.job.Dir, err)
	}
	f.Close()
	return in.commonDev(dev)
}

// furnish puts /proc and /dev into the image's root, and makes that a mount of its own where there are namespaces; there store
// directories can't be written, by root neither.
func (in *initProcess) furnish(stores []string) error {
	root := in.path(treeDir)
	if in.job.Way.Chroot {
		to := filepath.Join(root, "dev")
		if err := os.Remove(to); err != nil {
			return err
		}
		return os.Rename(in.path(devDir), to)
	}
	if err := mount(root, root, "", unix.MS_BIND, ""); err != nil { // pivot_root(2) wants a mount.
		return err
	}
	for _, d := range []string{procDir, devDir} {
		if err := mount(in.path(d), filepath.Join(root, d), "", unix.MS_MOVE, ""); err != nil {
			return err
		}
	}
	for _, s := range stores {
		at := filepath.Join(root, s)
		if err := mount(at, at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := readOnly(at); err != nil {
			return err
		}
	}
	return nil
}

// readOnly makes a mount read-only, and leaves it as it is else: a user namespace may not take off what was put on outside of it.
func readOnly(at string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return &os.PathError{Op: "statfs", Path: at, Err: err}
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
	for _, f := range []struct{ has, flag uintptr }{
		{unix.ST_NOSUID, unix.MS_NOSUID},
		{unix.ST_NODEV, unix.MS_NODEV},
		{unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME},
		{unix.ST_NODIRATIME, unix.MS_NODIRATIME},
		{unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if uintptr(s.Flags)&f.has != 0 {
			flags |= f.flag
		}
	}
	if err := unix.Mount("", at, "", flags, ""); err != nil {
		return fmt.Errorf("mount(2) of %s read-only: %w", at, err)
	}
	return nil
}
