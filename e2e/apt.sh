# shellcheck shell=bash
# apt.sh is sourced by the set-up scripts here that put programs of another Debian beside the machine's own: its packages,
# checked by apt against Debian's keys and unpacked with all that they need, not installed. Nothing else of the machine changes.
#
# Whoever sources it has set WHAT, which begins each message, and RECIPE: what another number made is made anew. A place is
# complete or not there: it is made in a folder beside it, gets a file "recipe", and is renamed.

say() { echo "$WHAT: $*" >&2; }
die() {
	say "error: $*"
	exit 1
}

# cache_home prints the folder that the tests look in by default: the user's by the password file, since Bazel's tests have no HOME.
cache_home() {
	local home
	home=$(getent passwd "$(id -u)" | cut -d: -f6)
	echo "${home:-$HOME}/.cache"
}

# complete PLACE: whether it is there, made by this recipe.
complete() { [ "$(cat "$1/recipe" 2>/dev/null)" = "$RECIPE" ]; }

# lock FILE: one set-up at a time, as long as any process of this one lives. Whoever waited may find all done.
lock() {
	local tool
	for tool in apt-get dpkg-deb flock; do
		command -v "$tool" >/dev/null || die "$tool is missing: this set-up works on Debian"
	done
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	flock 9
}

# apt_begin WORK SUITE [PACKAGE...]: from here on apt is one of our own, with the machine's mirror and proxies, but lists, packages
# and status in the folder WORK, which is made anew. It takes the PACKAGEs for installed: what other packages depend on, and the
# programs never call.
apt_begin() {
	local mirror keys package
	apt_work=$1 apt_suite=$2
	shift 2
	rm -rf "$apt_work"
	mkdir -p "$apt_work"/{state/lists/partial,cache/archives/partial}
	# shellcheck disable=SC2016 # apt's own variable
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n1 || true)
	[ -n "$mirror" ] || die "this machine's apt has no Debian mirror"
	for keys in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do if [ -e "$keys" ]; then break; fi; done
	for package; do
		printf '%s\n' "Package: $package" "Status: install ok installed" "Priority: optional" "Section: misc" "Maintainer: none" \
			"Architecture: $(dpkg --print-architecture)" "Multi-Arch: foreign" "Version: 99:99" "Description: stand-in" ""
	done >"$apt_work/state/status"
	echo "deb [signed-by=$keys] ${mirror%/} $apt_suite main" >"$apt_work/sources.list"
	cat >"$apt_work/apt.conf" <<-CONF
		Dir::Etc::sourcelist "$apt_work/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State "$apt_work/state";
		Dir::State::status "$apt_work/state/status";
		Dir::Cache "$apt_work/cache";
		Debug::NoLocking "true";
		APT::Sandbox::User "";
		APT::Install-Recommends "false";
		# A frozen mirror's suites expire; their signatures are checked all the same.
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	CONF
	export APT_CONFIG=$apt_work/apt.conf
	apt_logged "Debian $apt_suite is not to be had" update -q
}

# apt_version PACKAGE: prints the version that the suite has, or nothing.
apt_version() { apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'; }

# apt_unpack ROOT PACKAGE...: downloads packages with all that they depend on, and unpacks them to the folder ROOT.
apt_unpack() {
	local root=$1 deb
	shift
	apt_logged "downloading $* of Debian $apt_suite failed" install -y -q --download-only "$@"
	for deb in "$apt_work"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$root"; done
}

# apt_logged MESSAGE ARG...: apt-get with ARGs, silent unless it fails.
apt_logged() {
	local message=$1
	shift
	apt-get "$@" >"$apt_work/log" 2>&1 || {
		tail -n 5 "$apt_work/log" >&2
		die "$message"
	}
}
