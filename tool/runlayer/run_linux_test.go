package runlayer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// looking is what a program sees of its root.
const looking = `
env | sort
echo "ids $(id -u) $(id -g) $(id -G)"
echo /etc/hosts* /dev/*
stat -c '%a %n' /tmp /dev/shm /dev/null
cat /proc/sys/kernel/hostname || true
[ "$(ls -d /proc/[0-9]* | wc -l)" -lt 10 ] && echo "few processes"
python3 -c '
import socket
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as e:
    print(e.strerror)
'
exit 7
`

// looked is what it sees in namespaces, as the user web.
const looked = `A=b
FROM=image
HOME=/home/web
PATH=/usr/bin:/bin
PWD=/srv
SHLVL=1
SOURCE_DATE_EPOCH=7
ids 1000 1000 1000 44
/etc/hosts* /dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero
1777 /tmp
1777 /dev/shm
666 /dev/null
localhost
few processes
Network is unreachable
`

// What a program finds in its root, and what it doesn't.
func TestRun_Isolation(t *testing.T) {
	img := testImage(t)
	for _, in := range available() {
		s := shell(looking)
		seconds := int64(7)
		s.Env, s.Workdir, s.User, s.MtimeUnix = []string{"A=b"}, "/srv", "web", &seconds
		want := looked
		if in.Chroot {
			want = strings.NewReplacer(
				"\nlocalhost\n", "\ncat: can't open '/proc/sys/kernel/hostname': No such file or directory\n",
				"few processes", "ls: /proc/[0-9]*: No such file or directory\nfew processes",
				"Network is unreachable", "Permission denied",
			).Replace(want)
		}
		if in.User { // One id only, which is root.
			s.User = ""
			want = strings.NewReplacer("/home/web", "/root", "ids 1000 1000 1000 44", "ids 0 0 0").Replace(want)
		}
		_, err := runSpec(t.Context(), t, img, s, in)
		var failed *CommandError
		if !errors.As(err, &failed) || failed.Failure != "exit code 7" {
			t.Errorf("%s: got %v, want exit code 7", in, err)
		} else if got := string(failed.Output); got != want {
			t.Errorf("%s: it sees\n%s\nwant\n%s", in, got, want)
		}
	}
}

// Privileges that a program doesn't have, though it is root.
func TestRun_Privileges(t *testing.T) {
	img := smallImage(t)
	for _, in := range available() {
		for _, script := range []string{
			"busybox mknod /srv/disk b 254 0",
			"busybox mount -t tmpfs none /srv",
			"busybox chroot /srv/nothing /bin/true",
			"echo x > /nix/store/new",
			"echo b > /proc/sysrq-trigger",
			"echo x > /proc/sys/kernel/hostname",
			"busybox hostname other",
		} {
			if in.Chroot && (strings.Contains(script, "/nix/store") || strings.Contains(script, "sysrq")) {
				continue // Both are files in a folder that is in no layer.
			}
			_, err := runSpec(t.Context(), t, img, shell(script), in)
			if failed := new(CommandError); !errors.As(err, &failed) || len(failed.Output) == 0 {
				t.Errorf("%s: %s: got %v, want that it fails", in, script, err)
			}
		}
	}
}

// Root in the image can't write to the binary of the process above it, which is the host's.
func TestRun_OwnBinary(t *testing.T) {
	img := smallImage(t)
	const script = "for pid in 1 $$; do (echo x > /proc/$pid/exe) 2>&1; done; exit 6"
	for _, in := range available() {
		if in.Chroot {
			continue // There is no /proc.
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(self)
		if err != nil {
			t.Fatal(err)
		}
		_, err = runSpec(t.Context(), t, img, &Spec{Command: []string{"/bin/sh", "-c", script}}, in)
		if failed := new(CommandError); !errors.As(err, &failed) || failed.Failure != "exit code 6" || strings.Count(string(failed.Output), "can't create") != 2 {
			t.Errorf("%s: got %v", in, err)
		}
		if after, err := os.Stat(self); err != nil || after.Size() != before.Size() || after.ModTime() != before.ModTime() {
			t.Errorf("%s: the test's own binary was %v, is %v, %v", in, before, after, err)
		}
	}
}

// Root in the image can't leave its root by the old way: another root below the directory that it is in.
func TestRun_NoWayOut(t *testing.T) {
	img := testImage(t)
	const script = `
import os
os.mkdir("/jail")
os.chroot("/jail")
for _ in range(100):
    os.chdir("..")
os.chroot(".")
print(os.path.exists("/nix/store"), os.path.exists("/proc/self/mounts"))
`
	for _, in := range available() {
		_, err := runSpec(t.Context(), t, img, &Spec{Command: []string{"/bin/sh", "-c", "python3 -c '" + script + "'; exit 5"}}, in)
		failed := new(CommandError)
		if !errors.As(err, &failed) || failed.Failure != "exit code 5" {
			t.Fatalf("%s: got %v, want exit code 5", in, err)
		}
		want := "True True" // The image's own, still.
		if in.Chroot {
			want = "PermissionError: [Errno 1] Operation not permitted"
		}
		if !strings.Contains(string(failed.Output), want) {
			t.Errorf("%s: got\n%s\nwant %s", in, failed.Output, want)
		}
	}
}

// Root in the image does nothing to processes that aren't its own: not to all, not to a group, and, where the kernel can tell them apart, not to
// one. (Signal 0 and a victim of the test's own: were it otherwise, nobody else would be hit.)
func TestRun_OthersProcesses(t *testing.T) {
	img := testImage(t)
	victim := exec.Command("sleep", "1000")
	victim.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { victim.Process.Kill(); victim.Wait() }()
	outside, err := net.Listen("unix", "@strata-test-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	script := fmt.Sprintf(`
import os, signal, socket
victim = %d
def attempt(what, do):
    try:
        do()
        print(what, "done")
    except OSError as e:
        print(what, e.strerror)
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0strata-test-%d")
child = os.fork()
if child == 0:
    while True:
        signal.pause()
attempt("all", lambda: os.kill(-1, 0))
attempt("group", lambda: os.kill(-victim, 0))
attempt("socket", connect)
attempt("one", lambda: os.kill(victim, 15))
attempt("own group", lambda: os.kill(0, 0))
attempt("child", lambda: os.kill(child, 9))
attempt("wait", lambda: os.waitpid(child, 0))
`, victim.Process.Pid, os.Getpid())
	for _, in := range available() {
		_, err := runSpec(t.Context(), t, img, &Spec{Command: []string{"/bin/sh", "-c", "python3 -c '" + script + "'; exit 5"}}, in)
		failed := new(CommandError)
		if !errors.As(err, &failed) || failed.Failure != "exit code 5" {
			t.Fatalf("%s: got %v, want exit code 5", in, err)
		}
		// In a PID namespace there is nobody else: all are the own ones.
		want := "all done\ngroup No such process\nsocket Connection refused\none No such process\nown group done\nchild done\nwait done\n"
		if in.Chroot {
			want = "all Operation not permitted\ngroup Operation not permitted\nsocket Operation not permitted\none Operation not permitted\nown group done\nchild done\nwait done\n"
			if !scopes() {
				want = strings.NewReplacer("socket Operation not permitted", "socket done", "one Operation not permitted", "one done").Replace(want)
			}
		}
		if got := string(failed.Output); got != want {
			t.Errorf("%s: got\n%swant\n%s", in, got, want)
		}
		if err := victim.Process.Signal(syscall.Signal(0)); err != nil && (!in.Chroot || scopes()) {
			t.Errorf("%s: the victim: %v", in, err)
		}
	}
}

// Programs that fail, and what they can't do: the error says which and why, and nothing is written.
func TestRun_Failures(t *testing.T) {
	img := smallImage(t)
	with := func(s *Spec, change func(*Spec)) *Spec { change(s); return s }
	for _, test := range []struct {
		spec *Spec
		want []string
	}{
		{shell("echo on standard output; echo on standard error >&2; exit 3"), []string{`"/bin/sh -euc`, "exit code 3; it wrote:\non standard output\non standard error"}},
		{shell(`printf '\033]0;title\007\033[2J\trot\r\n\377'; exit 3`), []string{"it wrote:\n\\x1b]0;title\\a\\x1b[2J\trot\\r\n\\xff"}},
		{shell(`busybox touch "$(printf '/srv/.wh.\033[31m')"`), []string{".wh."}},
		{shell("exit 4"), []string{"exit code 4; it wrote nothing"}},
		{shell("kill -9 $$"), []string{"ended by signal: killed"}},
		{shell("busybox seq 200000; exit 1"), []string{"it wrote:\n1\n2\n", " bytes are left out]", "\n199999\n200000"}},
		{shell("true"), []string{"the command changed nothing"}},
		{shell("echo x > /tmp/x"), []string{"the command changed nothing"}},
		{shell("busybox touch /etc/motd; busybox cp -a /etc/motd /x; busybox mv /x /etc/motd"), []string{"the command changed nothing"}},
		{shell("busybox touch /srv/.wh.x"), []string{"/srv/.wh.x", "begins with .wh."}},
		{shell("busybox chmod 700 /"), []string{"changed the mode, owner or attributes of /"}},
		{&Spec{Command: []string{"zsh"}}, []string{"there is no zsh in the image (PATH is /usr/bin:/bin)"}},
		{&Spec{Command: []string{"/bin/zsh"}}, []string{"/bin/zsh is not in the image"}},
		{&Spec{Command: []string{"/etc/motd"}}, []string{"/etc/motd: permission denied"}},
		{with(shell("true"), func(s *Spec) { s.User = "nix" }), []string{`user "nix":`}},
		{with(shell("true"), func(s *Spec) { s.User = "web:wheel" }), []string{`user "web:wheel":`}},
		{with(shell("true"), func(s *Spec) { s.Workdir = "/none" }), []string{"workdir:", "no such file"}},
		{with(shell("true"), func(s *Spec) { s.Scratch = []string{"etc/motd"} }), []string{"scratch: /etc/motd is a file in the image"}},
		{shell("busybox mkdir -p /srv/a/b/c; busybox touch /srv/a/b/c/.wh.x"), []string{"/srv/a/b/c/.wh.x: the command made a name"}},
		{shell("i=0; while [ $i -lt 600 ]; do busybox mkdir dddddddd; cd dddddddd || break; i=$((i+1)); done"), []string{"…: the command made directories that are too deep"}},
		{with(shell("true"), func(s *Spec) { s.Scratch = []string{"srv/link/x"} }), []string{"scratch: /srv/link is a symlink in the image"}},
		{with(shell("busybox sleep 100 & busybox sleep 100"), func(s *Spec) { s.TimeLimit = 300 * time.Millisecond }), []string{"not done after 300ms (time_limit)"}},
	} {
		for i, in := range ways() {
			if i > 0 && len(test.spec.Scratch) == 0 && test.spec.TimeLimit == 0 {
				continue // The rest is the same.
			}
			got, err := runSpec(t.Context(), t, img, test.spec, in)
			if err == nil {
				t.Errorf("%s: %q: want an error, got\n%s", in, test.spec.Command, got.mtree)
				continue
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %q: got %.500v, want %q in it", in, test.spec.Command, err, want)
				}
			}
			if len(err.Error()) > maxHead+maxTail+1000 {
				t.Errorf("%s: %q: an error of %d bytes", in, test.spec.Command, len(err.Error()))
			}
		}
	}
}

// What a program leaves running ends with it, and all of it when the caller wants no more.
func TestRun_Ends(t *testing.T) {
	img := smallImage(t)
	for _, in := range ways() {
		mark := strconv.Itoa(1_000_000 + os.Getpid()) // Nobody else sleeps so many seconds.
		got, err := runSpec(t.Context(), t, img, shell("(busybox setsid busybox sleep "+mark+" &) ; busybox sleep "+mark+" & echo x > /x"), in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if !strings.Contains(got.mtree, "./x type=file") {
			t.Errorf("%s: the layer is\n%s", in, got.mtree)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		var probe stopReader
		over := *img
		over.Layers = append(over.Layers, probe.layer)
		probe.at = func() { time.AfterFunc(time.Second, func() { cancel(stop) }) }
		if _, err := runSpec(ctx, t, &over, shell("busybox setsid busybox sleep "+mark+" & busybox sleep "+mark), in); !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want what it was stopped by", in, err)
		}
		if left := running(t, mark); len(left) > 0 {
			t.Errorf("%s: still running: %q", in, left)
		}
	}
}

// running are the command lines of processes with a word in it.
func running(t *testing.T, word string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline"); err == nil && strings.Contains(string(b), "\x00"+word) {
			out = append(out, string(b))
		}
	}
	return out
}

// A command that takes away the directory of the store is told so: a layer with that would hide the store paths below it. (Where
// there are namespaces, /nix/store can't be moved, and what is in it not removed; but /nix can be.)
func TestRun_StoreMoved(t *testing.T) {
	img := smallImage(t)
	const copied = "busybox cp /nix/store/wnl*/bin/busybox /busybox; "
	for _, in := range available() {
		for _, script := range []string{
			"/busybox mv /nix /moved",
			"/busybox mv /nix /moved; /busybox mkdir -p /nix/store",
			"/busybox mv /nix /moved; /busybox ln -s moved /nix",
			"/busybox rm -rf /nix",
		} {
			got, err := runSpec(t.Context(), t, img, &Spec{Command: []string{"/bin/sh", "-c", copied + script + "; exit 0"}}, in)
			if !in.Chroot && strings.Contains(script, "rm -rf") { // It fails, and /nix/store is still there.
				if err != nil || strings.Contains(got.mtree, ".wh.") {
					t.Errorf("%s: %s: %v\n%s", in, script, err, got.mtree)
				}
			} else if err == nil || !strings.Contains(err.Error(), "the command moved or removed /nix/store") {
				t.Errorf("%s: %s: got %v, want that the store is gone", in, script, err)
			}
		}
	}
}

// A user list that can't be read to an end doesn't keep the run from its own.
func TestRun_EndlessUsers(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "etc/passwd", Typeflag: tar.TypeFifo, Mode: 0o644},
		{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "/dev/zero"},
		{Name: "etc/group", Typeflag: tar.TypeFifo, Mode: 0o644},
	} {
		img := smallImage(t)
		img.Layers = append(img.Layers, oneEntry(h))
		_, err := runSpec(t.Context(), t, img, shell("true"), ways()[0])
		if err == nil || !strings.Contains(err.Error(), "user: /"+h.Name+" in the image is no regular file") {
			t.Errorf("%v: got %v, want that it is none", h, err)
		}
	}
}

// A layer that breaks off, or leads out, is told before anything is run.
func TestRun_BadImage(t *testing.T) {
	img := smallImage(t)
	for name, test := range badLayers {
		over := *img
		over.Layers = append(over.Layers, test.layer)
		_, err := runSpec(t.Context(), t, &over, shell("echo x > /x"), ways()[0])
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, test.want)
		}
	}
}

func TestWrite_BadOptions(t *testing.T) {
	if _, err := Write(t.Context(), nil, shell("true"), &Image{}, t.TempDir(), layer.Options{Level: "12"}); err == nil {
		t.Error("level 12 of gzip: want an error")
	}
	if _, err := Write(t.Context(), nil, &Spec{}, &Image{}, t.TempDir(), layer.Options{}); err == nil {
		t.Error("no command: want an error")
	}
	for _, dir := range []string{"nix", "nix/store/x", "opt/store"} {
		s := shell("true")
		s.Scratch = []string{"srv", dir}
		if _, err := Write(t.Context(), nil, s, &Image{Stores: []string{"opt/store"}}, t.TempDir(), layer.Options{}); err == nil || !strings.Contains(err.Error(), "scratch: /"+dir+" is, or is inside or around, /") {
			t.Errorf("scratch %s: got %v, want that the store is there", dir, err)
		}
	}
}

// stopReader is an empty layer that says when it is read for the second time: then the program is about to run.
type stopReader struct {
	reads int
	at    func()
}

func (s *stopReader) layer() (io.ReadCloser, error) {
	if s.reads++; s.reads == 2 {
		s.at()
	}
	return io.NopCloser(bytes.NewReader(make([]byte, 1024))), nil
}

var beyondIDs = int64(1) << 32 // No constant: an int has no room for it everywhere.

// badLayers are layers that no image should have.
var badLayers = map[string]struct {
	layer func() (io.ReadCloser, error)
	want  string
}{
	"absent":                      {func() (io.ReadCloser, error) { return nil, os.ErrNotExist }, "file does not exist"},
	"an owner that no disk knows": {oneEntry(tar.Header{Name: "x", Typeflag: tar.TypeReg, Uid: int(beyondIDs), Format: tar.FormatPAX}), "owner 4294967296:0: want numbers below 4294967295"},
	"a group that no disk knows":  {oneEntry(tar.Header{Name: "x", Typeflag: tar.TypeReg, Gid: int(beyondIDs - 1), Format: tar.FormatPAX}), "owner 0:4294967295: want numbers below 4294967295"},
	"leads out":                   {oneEntry(tar.Header{Name: "../x", Typeflag: tar.TypeReg}), `".."`},
	"below a link":                {oneEntry(tar.Header{Name: "srv/none/x", Typeflag: tar.TypeLink, Linkname: "../etc/passwd"}), "a hard link to"},
	"cut off": {func() (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 100})
		return io.NopCloser(&b), nil
	}, "unexpected EOF"},
}

func oneEntry(h tar.Header) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		err := errors.Join(w.WriteHeader(&h), w.Close())
		return io.NopCloser(&b), err
	}
}
