#!/usr/bin/env bash
# setup.sh puts a real Guix where the tests find it that compare strata with Guix: a root file system with it and all that it needs, at
#     ${STRATA_GUIX_HOME:-<home>/.cache/strata-guix}/1.5
# They are Debian's packages (of sid), unpacked and not installed: needs no root, makes no /gnu, changes nothing else. (The test, which runs
# it by chroot, needs root.) Complete or not there; a second run takes a few hundredths of a second. Needs apt-get and dpkg-deb.
set -euo pipefail

readonly RECIPE=1 # what another number made is made anew
readonly VERSION=1.5 SUITE=sid

say() { echo "guix: $*" >&2; }
die() { say "error: $*"; exit 1; }

home=$(getent passwd "$(id -u)" | cut -d: -f6)
home=${STRATA_GUIX_HOME:-${home:-$HOME}/.cache/strata-guix}
place=$home/$VERSION

complete() { [ "$(cat "$place/recipe" 2>/dev/null)" = "$RECIPE" ]; }

# An apt of its own: the machine's mirror, keys and proxies, but lists, packages and status apart.
apt_private() {
	local mirror keys
	mkdir -p "$work"/{state/lists/partial,cache/archives/partial}
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n1 || true)
	[ -n "$mirror" ] || die "this machine's apt has no Debian mirror"
	for keys in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do if [ -e "$keys" ]; then break; fi; done
	: >"$work/state/status"
	echo "deb [signed-by=$keys] ${mirror%/} $SUITE main" >"$work/sources.list"
	cat >"$work/apt.conf" <<-CONF
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State "$work/state";
		Dir::State::status "$work/state/status";
		Dir::Cache "$work/cache";
		Debug::NoLocking "true";
		APT::Sandbox::User "";
		APT::Default-Release "$SUITE";
		APT::Install-Recommends "false";
		# A frozen mirror's suites expire; their signatures are checked all the same.
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	CONF
	export APT_CONFIG=$work/apt.conf
}

if complete; then exit 0; fi
for tool in apt-get dpkg-deb flock; do
	command -v "$tool" >/dev/null || die "$tool is missing: this set-up works on Debian"
done
# One at a time; whoever waited may find all done.
mkdir -p "$home"
home=$(cd "$home" && pwd -P)
place=$home/$VERSION
exec 9>"$home/lock"
flock 9
if complete; then exit 0; fi

work=$home/work
rm -rf "$work"
mkdir -p "$work/root"
trap 'rm -rf "$work"' EXIT
apt_private
apt-get update -q >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "Debian $SUITE is not to be had"; }
have=$(apt-cache policy guix | sed -n 's/^ *Candidate: \([^(-]*\).*/\1/p')
case $have in "$VERSION".*) ;; *) die "Debian $SUITE has Guix ${have:-(none)}, not $VERSION" ;; esac
say "unpacking Guix $have of Debian $SUITE to $place"
apt-get install -y -q --download-only guix bash busybox-static >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "downloading Guix failed"; }
for deb in "$work"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
mkdir -p "$work/root"/{gnu,var/guix}
echo "$RECIPE" >"$work/root/recipe"
rm -rf "$place"
mv "$work/root" "$place"
