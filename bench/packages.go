package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// packages are regular expressions for the distribution's packages that the
// corpus is made of: what images are made of, some of it many small files, some few large ones. Of
// several packages that one expression names, the one with the highest
// version in its name is taken; there may be none.
var packages = []string{
	"adduser", "bash", "binutils-%s", "busybox-static", "ca-certificates", "coreutils", "cpp-[0-9]+(-%s)?",
	"curl", "fonts-dejavu-core", "fonts-noto-core", "gcc-[0-9]+(-%s)?", "git", `golang-1\.[0-9]+-src`, "iso-codes",
	"libc6", "libc6-dev", "libgcc-[0-9]+-dev", "libicu[0-9]+", `libperl5\.[0-9]+(t64)?`, `libpython3\.[0-9]+-dev`,
	`libpython3\.[0-9]+-stdlib`, `libruby3\.[0-9]+`, "libsqlite3-0", "libssl-dev", "libssl3(t64)?", `libstdc\+\+-[0-9]+-dev`,
	"linux-libc-dev", "locales", "manpages-dev", "openssl", "perl-base", `perl-modules-5\.[0-9]+`, "postgresql-[0-9]+",
	`python3\.[0-9]+-minimal`, "python3-numpy", "python3-sphinx", "tzdata", "vim-runtime", "xz-utils", "zlib1g",
}

// smallPackages are those of the small corpus.
var smallPackages = []string{
	"bash", "ca-certificates", "coreutils", "libc6", `libpython3\.[0-9]+-stdlib`, "libsqlite3-0", `libstdc\+\+-[0-9]+-dev`,
	"linux-libc-dev", "openssl", "perl-base", "tzdata",
}

// triples name the native toolchain's packages.
var triples = map[string]string{"amd64": "x86-64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// resolve returns the names of the packages that apt has for the expressions.
func resolve(expressions []string, warn func(format string, a ...any)) ([]string, error) {
	triple := triples[runtime.GOARCH]
	if triple == "" {
		triple = runtime.GOARCH + "-linux-gnu"
	}
	all := make([]string, len(expressions))
	for i, e := range expressions {
		all[i] = strings.ReplaceAll(e, "%s", triple)
	}
	out, err := exec.Command("apt-cache", "search", "--names-only", "^("+strings.Join(all, "|")+")$").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-cache search: %w", err)
	}
	var known []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " ")
		known = append(known, name)
	}
	var names []string
	for _, e := range all {
		re, err := regexp.Compile("^(" + e + ")$")
		if err != nil {
			return nil, err
		}
		if name := highest(known, re); name != "" {
			names = append(names, name)
		} else {
			warn("apt knows no package %s; the corpus does without", e)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("apt knows none of the packages")
	}
	return names, nil
}

// fetchPackages downloads what apt has for the expressions into dir. Where that fails, apt's lists
// may be older than what its mirror has, or missing: it gets them anew, once, if it may.
func fetchPackages(ctx context.Context, dir string, expressions []string, say func(format string, a ...any)) error {
	fetch := func() error {
		names, err := resolve(expressions, say)
		if err != nil {
			return err
		}
		say("downloading %d packages", len(names))
		return aptGet(ctx, dir, append([]string{"download"}, names...)...)
	}
	err := fetch()
	if err == nil || ctx.Err() != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w\napt's lists of packages may be old: run `apt-get update` as root, and this again", err)
	}
	say("%v\nbench: apt's lists of packages may be old: fetching them anew", err)
	if err := aptGet(ctx, dir, "update"); err != nil {
		return err
	}
	return fetch()
}

func aptGet(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// highest returns the name that re matches and whose numbers are highest, or "".
func highest(names []string, re *regexp.Regexp) string {
	best := ""
	for _, n := range names {
		if re.MatchString(n) && (best == "" || padNumbers(n) > padNumbers(best)) {
			best = n
		}
	}
	return best
}

var digits = regexp.MustCompile("[0-9]+")

// padNumbers makes the order of strings that of the numbers in them.
func padNumbers(s string) string {
	return digits.ReplaceAllStringFunc(s, func(d string) string { return fmt.Sprintf("%012s", d) })
}
