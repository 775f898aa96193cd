#!/usr/bin/env bash
# setup.sh puts two real Nix, an old and a new one, where the tests find them that compare strata with Nix:
#     ${STRATA_NIX_HOME:-<home>/.cache/strata-nix}/{2.8,2.34}/bin/{nix,nix-store,…}
# They are Debian's packages (2.8 of bookworm, 2.34 of sid), unpacked with their own C library and not installed: needs no
# root, makes no /nix, changes nothing else. Complete or not there; a second run takes a few hundredths of a second.
# tool/nixtest says how to run them. Needs apt-get and dpkg-deb.
set -euo pipefail

# shellcheck disable=SC2034 # apt.sh reads them
readonly WHAT=nix RECIPE=1
# shellcheck source=e2e/apt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../apt.sh"

home=${STRATA_NIX_HOME:-$(cache_home)/strata-nix}

# VERSION SUITE
versions='
	2.8 bookworm
	2.34 sid
'

# What Debian's package depends on and the programs never call.
stand_ins=(
	bash-static bzip2 curl debconf debianutils dpkg libdbd-sqlite3-perl libwww-curl-perl lsb-base passwd perl perl-base xz-utils
)

# set_up VERSION SUITE
set_up() (
	version=$1 suite=$2
	work=$home/work
	place=$home/$version
	trap 'rm -rf "$work"' EXIT
	apt_begin "$work" "$suite" "${stand_ins[@]}"
	have=$(apt_version nix-bin)
	case $have in "$version".*) ;; *) die "Debian $suite has Nix ${have:-(none)}, not $version" ;; esac
	say "unpacking Nix $have of Debian $suite to $place"
	apt_unpack "$work/root" nix-bin patchelf

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

if complete "$home/2.8" && complete "$home/2.34"; then exit 0; fi
lock "$home/lock"
home=$(cd "$home" && pwd -P)
while read -r version suite; do
	if [ -n "$version" ] && ! complete "$home/$version"; then set_up "$version" "$suite" </dev/null; fi
done <<<"$versions"
