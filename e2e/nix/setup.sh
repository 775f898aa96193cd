#!/usr/bin/env bash
# setup.sh puts two real Nix, an old and a new one, where the tests find them that compare strata with Nix:
#     ${STRATA_NIX_HOME:-<home>/.cache/strata-nix}/{2.8,2.34}/bin/{nix,nix-store,…}
# They are Debian's packages (2.8 of bookworm, 2.34 of sid), unpacked with their own C library and not installed: needs no
# root, makes no /nix, changes nothing else. Complete or not there; a second run takes a few hundredths of a second.
# tool/nixtest says how to run them. Needs apt-get and dpkg-deb.
set -euo pipefail

readonly RECIPE=1 # what another number made is made anew

say() { echo "nix: $*" >&2; }
die() { say "error: $*"; exit 1; }

home=$(getent passwd "$(id -u)" | cut -d: -f6)
home=${STRATA_NIX_HOME:-${home:-$HOME}/.cache/strata-nix}

# VERSION SUITE
versions='
	2.8 bookworm
	2.34 sid
'

# Stand-ins for what Debian's package depends on and the programs never call.
stand_ins='
	bash-static bzip2 curl debconf debianutils dpkg libdbd-sqlite3-perl libwww-curl-perl lsb-base passwd perl perl-base xz-utils
'

complete() { [ "$(cat "$home/$1/recipe" 2>/dev/null)" = "$RECIPE" ]; }

# An apt of its own: the machine's mirror, keys and proxies, but lists, packages and status apart.
apt_private() {
	local suite=$1 mirror keys package
	mkdir -p "$work"/{state/lists/partial,cache/archives/partial}
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n1 || true)
	[ -n "$mirror" ] || die "this machine's apt has no Debian mirror"
	for keys in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do if [ -e "$keys" ]; then break; fi; done
	for package in $stand_ins; do
		printf '%s\n' "Package: $package" "Status: install ok installed" "Priority: optional" "Section: misc" "Maintainer: none" \
			"Architecture: $(dpkg --print-architecture)" "Multi-Arch: foreign" "Version: 99:99" "Description: stand-in" ""
	done >"$work/state/status"
	echo "deb [signed-by=$keys] ${mirror%/} $suite main" >"$work/sources.list"
	cat >"$work/apt.conf" <<-CONF
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State "$work/state";
		Dir::State::status "$work/state/status";
		Dir::Cache "$work/cache";
		Debug::NoLocking "true";
		APT::Sandbox::User "";
		APT::Install-Recommends "false";
		# A frozen mirror's suites expire; their signatures are checked all the same.
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	CONF
	export APT_CONFIG=$work/apt.conf
}

# set_up VERSION SUITE
set_up() (
	version=$1 suite=$2
	work=$home/work
	place=$home/$version
	rm -rf "$work"
	mkdir -p "$work/root"
	trap 'rm -rf "$work"' EXIT
	apt_private "$suite"
	apt-get update -q >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "Debian $suite is not to be had"; }
	have=$(apt-cache policy nix-bin | sed -n 's/^ *Candidate: \([^(-]*\).*/\1/p')
	case $have in "$version".*) ;; *) die "Debian $suite has Nix ${have:-(none)}, not $version" ;; esac
	say "unpacking Nix $have of Debian $suite to $place"
	apt-get install -y -q --download-only nix-bin patchelf >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "downloading Nix $version failed"; }
	for deb in "$work"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

	# The programs get the C library they came with, so the machine's may be older.
	cd "$work/root"
	triplet=$(basename "$(dirname "$(find . -name libc.so.6 | head -n1)")")
	loader=$(basename "$(find . -name 'ld-linux*.so.*' | head -n1)")
	mkdir -p "$work/nix/lib" "$work/nix/bin"
	for dir in lib usr/lib usr/lib/nix "lib/$triplet" "usr/lib/$triplet"; do
		if [ -d "$dir" ]; then find "$dir" -maxdepth 1 -name '*.so*' -exec mv -t "$work/nix/lib" {} +; fi
	done
	find usr/bin -name 'nix*' -exec mv -t "$work/nix/bin" {} +
	patch() { "$work/nix/lib/$loader" --library-path "$work/nix/lib" usr/bin/patchelf --force-rpath --set-rpath "$place/lib" "$@"; }
	patch --set-interpreter "$place/lib/$loader" "$work/nix/bin/nix"
	for library in "$work"/nix/lib/libnix*.so*; do
		if [ -f "$library" ]; then patch "$library"; fi
	done
	echo "$RECIPE" >"$work/nix/recipe"
	rm -rf "$place"
	mv "$work/nix" "$place"
	NIX_CONFIG='build-users-group =' "$place/bin/nix-store" --version | grep -q " $version" || { rm -rf "$place"; die "the unpacked Nix $version doesn't run"; }
)

if complete 2.8 && complete 2.34; then exit 0; fi
for tool in apt-get dpkg-deb flock; do
	command -v "$tool" >/dev/null || die "$tool is missing: this set-up works on Debian"
done
# One at a time; whoever waited may find all done. The lock is held as long as any process of the set-up lives.
mkdir -p "$home"
home=$(cd "$home" && pwd -P)
exec 9>"$home/lock"
flock 9
while read -r version suite; do
	if [ -n "$version" ] && ! complete "$version"; then set_up "$version" "$suite" </dev/null; fi
done <<<"$versions"
