#!/usr/bin/env bash
# setup.sh puts a real Guix where the tests find it that compare strata with Guix: a root file system with it and all that it needs, at
#     ${STRATA_GUIX_HOME:-<home>/.cache/strata-guix}/1.5
# They are Debian's packages (of sid), unpacked and not installed: needs no root, makes no /gnu, changes nothing else. (The test, which runs
# it by chroot, needs root.) Complete or not there; a second run takes a few hundredths of a second. Some 120 MB are downloaded,
# 690 MB stay. Needs apt-get and dpkg-deb.
set -euo pipefail

# shellcheck disable=SC2034 # apt.sh reads them
readonly WHAT=guix RECIPE=1
readonly VERSION=1.5 SUITE=sid
# shellcheck source=e2e/apt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../apt.sh"

home=${STRATA_GUIX_HOME:-$(cache_home)/strata-guix}
if complete "$home/$VERSION"; then exit 0; fi
lock "$home/lock"
home=$(cd "$home" && pwd -P)
place=$home/$VERSION work=$home/work
if complete "$place"; then exit 0; fi

trap 'rm -rf "$work"' EXIT
apt_begin "$work" "$SUITE"
have=$(apt_version guix)
case $have in "$VERSION".*) ;; *) die "Debian $SUITE has Guix ${have:-(none)}, not $VERSION" ;; esac
say "unpacking Guix $have of Debian $SUITE to $place"
apt_unpack "$work/root" guix bash busybox-static
mkdir -p "$work/root"/{gnu,var/guix}
echo "$RECIPE" >"$work/root/recipe"
rm -rf "$place"
mv "$work/root" "$place"
