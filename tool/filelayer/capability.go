package filelayer

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// capabilityXattr holds a program's capabilities (capabilities(7), "File capabilities").
const capabilityXattr = "security.capability"

// capabilityNames are those of Linux 6 (linux/capability.h), by number.
var capabilityNames = []string{
	"cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill", "cap_setgid", "cap_setuid",
	"cap_setpcap", "cap_linux_immutable", "cap_net_bind_service", "cap_net_broadcast", "cap_net_admin", "cap_net_raw", "cap_ipc_lock",
	"cap_ipc_owner", "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin",
	"cap_sys_boot", "cap_sys_nice", "cap_sys_resource", "cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write",
	"cap_audit_control", "cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog", "cap_wake_alarm", "cap_block_suspend",
	"cap_audit_read", "cap_perfmon", "cap_bpf", "cap_checkpoint_restore",
}

// parseCapabilities reads what setcap(8) takes, clauses as "cap_net_raw,cap_net_admin=ep", separated by spaces, and
// returns the attribute's value: struct vfs_cap_data, revision 2 (linux/capability.h), in little-endian words.
//
// The kernel knows one effective flag for all capabilities of a file: either all or none may have e.
func parseCapabilities(text string) (string, error) {
	fail := func(format string, a ...any) (string, error) {
		return "", fmt.Errorf("%q: "+format, append([]any{text}, a...)...)
	}
	var permitted, inheritable, effective uint64
	for clause := range strings.FieldsSeq(text) {
		i := strings.IndexAny(clause, "=+")
		if i <= 0 {
			return fail("want capabilities as setcap takes them: \"cap_net_raw=ep\"")
		}
		var set uint64
		for name := range strings.SplitSeq(clause[:i], ",") {
			n := capabilityNumber(name)
			if n < 0 {
				return fail("there is no capability %q; \"cap_net_raw\" is one", name)
			}
			set |= 1 << n
		}
		flags := clause[i+1:]
		if flags == "" || strings.Trim(flags, "eip") != "" {
			return fail("want flags out of e, i and p, found %q", flags)
		}
		if strings.Contains(flags, "p") {
			permitted |= set
		}
		if strings.Contains(flags, "i") {
			inheritable |= set
		}
		if strings.Contains(flags, "e") {
			effective |= set
		}
	}
	all := permitted | inheritable
	switch {
	case all == 0:
		return fail("want at least one capability that is permitted (p) or inheritable (i)")
	case effective != 0 && effective != all:
		return fail("want e for all capabilities or for none: a file has one flag for them")
	}
	const revision2 = 0x02000000
	magic := uint32(revision2)
	if effective != 0 {
		magic |= 1
	}
	var b []byte
	for _, word := range []uint32{magic, uint32(permitted), uint32(inheritable), uint32(permitted >> 32), uint32(inheritable >> 32)} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return string(b), nil
}

func capabilityNumber(name string) int {
	name = strings.ToLower(name)
	for i, n := range capabilityNames {
		if n == name {
			return i
		}
	}
	return -1
}
