#!/usr/bin/env bash
# setup-newer.sh puts a newer docker and containerd beside the machine's own, for the tests in this folder: Debian sid's
# packages, checked by apt against Debian's keys and unpacked with all that they need, not installed, into
#     ${STRATA_CLIENTS_NEWER:-<home>/.cache/strata-clients/newer}
# which is the /usr that the daemons run with. Changes nothing else. Complete or not there; a second run takes a few
# hundredths of a second. Some 60 MB are downloaded, 230 MB stay. Needs apt-get and dpkg-deb.
set -euo pipefail

readonly RECIPE=1 # what another number made is made anew

say() { echo "clients: $*" >&2; }
die() {
	say "error: $*"
	exit 1
}

home=$(getent passwd "$(id -u)" | cut -d: -f6)
place=${STRATA_CLIENTS_NEWER:-${home:-$HOME}/.cache/strata-clients/newer}
complete() { [ "$(cat "$place/recipe" 2>/dev/null)" = "$RECIPE" ]; }
if complete; then exit 0; fi
for tool in apt-get dpkg-deb flock; do
	command -v "$tool" >/dev/null || die "$tool is missing: this set-up works on Debian"
done
mkdir -p "$(dirname "$place")"
exec 9>"$place.lock"
flock 9
if complete; then exit 0; fi

# What the packages depend on and the daemons here never call.
stand_ins='
	adduser apparmor debconf dpkg init-system-helpers iptables passwd perl perl-base procps
'

# An apt of its own: the machine's mirror, keys and proxies, but lists, packages and status apart.
work=$place.work
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,root}
# shellcheck disable=SC2016 # apt's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n1 || true)
[ -n "$mirror" ] || die "this machine's apt has no Debian mirror"
for keys in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do if [ -e "$keys" ]; then break; fi; done
for package in $stand_ins; do
	printf '%s\n' "Package: $package" "Status: install ok installed" "Priority: optional" "Section: misc" "Maintainer: none" \
		"Architecture: $(dpkg --print-architecture)" "Multi-Arch: foreign" "Version: 99:99" "Description: stand-in" ""
done >"$work/state/status"
echo "deb [signed-by=$keys] ${mirror%/} sid main" >"$work/sources.list"
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
apt-get update -q >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "Debian sid is not to be had"; }
# Older ones have no image store of containerd's that tells what it holds.
version() { apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'; }
dpkg --compare-versions "$(version docker.io)" ge 28 || die "Debian sid has docker $(version docker.io), want 28 or later"
dpkg --compare-versions "$(version containerd)" ge 2 || die "Debian sid has containerd $(version containerd), want 2 or later"
say "unpacking docker $(version docker.io) and containerd $(version containerd) of Debian sid to $place"
apt-get install -y -q --download-only containerd docker.io runc >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "downloading docker failed"; }
for dir in bin lib lib64 sbin; do
	mkdir -p "$work/root/usr/$dir"
	ln -s "usr/$dir" "$work/root/$dir"
done
for deb in "$work"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
rm -rf "$place"
echo "$RECIPE" >"$work/root/usr/recipe"
mv "$work/root/usr" "$place"
