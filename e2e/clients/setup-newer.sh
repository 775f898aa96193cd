#!/usr/bin/env bash
# setup-newer.sh puts newer clients beside the machine's own, for the tests in this folder: docker, containerd, podman, skopeo
# and oras. They are Debian sid's packages, unpacked with all that they need and not installed, in
#     ${STRATA_CLIENTS_NEWER:-<home>/.cache/strata-clients/newer}
# which is the /usr that they run with. Changes nothing else. Complete or not there; a second run takes a few hundredths of
# a second. Needs apt-get and dpkg-deb.
set -euo pipefail

# shellcheck disable=SC2034 # apt.sh reads them
readonly WHAT=clients RECIPE=2
# shellcheck source=e2e/apt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../apt.sh"

place=${STRATA_CLIENTS_NEWER:-$(cache_home)/strata-clients/newer}
if complete "$place"; then exit 0; fi
lock "$place.lock"
if complete "$place"; then exit 0; fi

# What the packages depend on and the programs here never call.
stand_ins=(
	adduser apparmor dbus-user-session debconf dpkg init-system-helpers iptables nftables passwd perl perl-base procps systemd uidmap
)

# PACKAGE OLDEST: older ones show nothing that the machine's own don't.
oldest='
	docker.io 28
	containerd 2
	podman 5
	skopeo 1.18
	oras 1.2
'

work=$place.work
trap 'rm -rf "$work"' EXIT
apt_begin "$work" sid "${stand_ins[@]}"
packages=(runc crun netavark)
versions=
while read -r package version; do
	if [ -z "$package" ]; then continue; fi
	have=$(apt_version "$package")
	dpkg --compare-versions "${have:-0}" ge "$version" || die "Debian sid has $package ${have:-(none)}, want $version or later"
	packages+=("$package")
	versions+=" $package $have"
done <<<"$oldest"
say "unpacking to $place, of Debian sid:$versions"
mkdir -p "$work/root"
for dir in bin lib lib64 sbin; do
	mkdir -p "$work/root/usr/$dir"
	ln -s "usr/$dir" "$work/root/$dir"
done
apt_unpack "$work/root" "${packages[@]}"
rm -rf "$place"
echo "$RECIPE" >"$work/root/usr/recipe"
mv "$work/root/usr" "$place"
