package runlayer

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What the filter says of system calls, the kernel's part played here. (That the kernel heeds it is TestRun_Isolation's.)
func TestCallFilter(t *testing.T) {
	allow, refuse, deny := uint32(unix.SECCOMP_RET_ALLOW), unix.SECCOMP_RET_ERRNO|uint32(unix.EACCES), unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)
	negative := func(n int32) uint32 { return uint32(n) }
	for goarch, arch := range auditArch {
		filter, err := callFilter(goarch)
		if err != nil {
			t.Fatal(err)
		}
		const none = 7 // no family of the network, but a number for what takes none
		for _, c := range []struct {
			what     string
			arch     uint32
			nr, arg0 uint32
			want     uint32
		}{
			{"socket(AF_UNIX)", arch, unix.SYS_SOCKET, unix.AF_UNIX, allow},
			{"socket(AF_INET)", arch, unix.SYS_SOCKET, unix.AF_INET, refuse},
			{"socket(AF_INET6)", arch, unix.SYS_SOCKET, unix.AF_INET6, refuse},
			{"socket(AF_PACKET)", arch, unix.SYS_SOCKET, unix.AF_PACKET, refuse},
			{"write", arch, unix.SYS_WRITE, none, allow},
			{"io_uring_setup", arch, unix.SYS_IO_URING_SETUP, none, deny},
			{"ptrace", arch, unix.SYS_PTRACE, none, deny},
			{"process_vm_writev", arch, unix.SYS_PROCESS_VM_WRITEV, none, deny},
			{"process_madvise", arch, unix.SYS_PROCESS_MADVISE, none, deny},
			{"pidfd_getfd", arch, unix.SYS_PIDFD_GETFD, none, deny},
			{"keyctl", arch, unix.SYS_KEYCTL, none, deny},
			{"request_key", arch, unix.SYS_REQUEST_KEY, none, deny},
			{"kill of a process", arch, unix.SYS_KILL, 4711, allow},
			{"kill of the own group", arch, unix.SYS_KILL, 0, allow},
			{"kill of all", arch, unix.SYS_KILL, negative(-1), deny},
			{"kill of a group", arch, unix.SYS_KILL, negative(-4711), deny},
			{"prlimit64 of itself", arch, unix.SYS_PRLIMIT64, 0, allow},
			{"prlimit64 of another", arch, unix.SYS_PRLIMIT64, 4711, deny},
			{"x32's write", arch, 0x40000000 | unix.SYS_WRITE, none, refuse},
			{"another architecture's write", arch + 1, unix.SYS_WRITE, none, refuse},
		} {
			arg0 := map[uint32]uint32{seccompArg0: c.arg0}
			if goarch == "s390x" {
				arg0 = map[uint32]uint32{seccompArg0 + 4: c.arg0}
			}
			arg0[seccompNR], arg0[seccompArch] = c.nr, c.arch
			if got := runFilter(t, filter, arg0); got != c.want {
				t.Errorf("%s: %s: got %#x, want %#x", goarch, c.what, got, c.want)
			}
		}
	}
	// linux/arch/{x86/entry/syscalls/syscall_32.tbl,powerpc/kernel/syscalls/syscall.tbl,s390/kernel/syscalls/syscall.tbl}
	for _, goarch := range []string{"386", "ppc64le", "s390x"} {
		filter, err := callFilter(goarch)
		if err != nil {
			t.Fatal(err)
		}
		if got := runFilter(t, filter, map[uint32]uint32{seccompNR: 102, seccompArch: auditArch[goarch]}); got != refuse {
			t.Errorf("%s: socketcall: got %#x, want %#x", goarch, got, refuse)
		}
	}
	if _, err := callFilter("mips"); err == nil {
		t.Error("mips: want an error")
	}
}

// runFilter does what the kernel does with the instructions that there are in such a filter.
func runFilter(t *testing.T, filter []unix.SockFilter, data map[uint32]uint32) uint32 {
	t.Helper()
	var a uint32
	for i := 0; i < len(filter); i++ {
		f := filter[i]
		jump := func(yes bool) {
			if yes {
				i += int(f.Jt)
			} else {
				i += int(f.Jf)
			}
		}
		switch f.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[f.K]
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == f.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= f.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&f.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return f.K
		default:
			t.Fatalf("instruction %d: code %#x is not known here", i, f.Code)
		}
	}
	t.Fatal("it has no end")
	return 0
}
