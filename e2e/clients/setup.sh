#!/bin/sh
# Installs the container clients that the tests in this folder judge images by.
# The distribution's packages go where apt puts them. What the distribution
# doesn't have is built with Go: crane, at go.mod's version of
# go-containerregistry, and registry3, distribution's registry 3, into
#     ${STRATA_CLIENTS_BIN:-<home>/.cache/strata-clients/bin}
# where the tests look for them too. What is there already is left alone: a second
# run takes a few hundredths of a second. No daemon is started. setup-newer.sh,
# which is called here, unpacks newer clients beside them.
# Needs Debian 12 or later (or a relative of it), root, and Go.
set -eu

packages='
	buildah conmon containerd crun curl docker-registry docker.io iproute2
	libarchive-tools nginx-light podman runc skopeo tar umoci util-linux zstd
'

say() { echo "clients: $*" >&2; }
die() { say "error: $*"; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
registry3=v3.1.2

home=$(getent passwd "$(id -u)" | cut -d: -f6)
bin=${STRATA_CLIENTS_BIN:-${home:-$HOME}/.cache/strata-clients/bin}

# missing lists the packages that are not there, one query for all.
missing() {
	# shellcheck disable=SC2086 # a list of words
	there=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null | sed -n 's/^installed //p')
	for p in $packages; do
		case "
$there
" in
		*"
$p
"*) ;;
		*) printf ' %s' "$p" ;;
		esac
	done
	# Debian 13 and later have the docker command in a package of its own.
	if command -v dockerd >/dev/null && ! command -v docker >/dev/null; then printf ' docker-cli'; fi
}

apt() {
	# A package's installation may start its daemon (docker, nginx); policy-rc.d
	# says no to that, and is put back as it was.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ] || grep -q 'strata clients' "$policy"; then
		trap 'rm -f "$policy"' EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		printf '#!/bin/sh\n# strata clients: while packages are installed\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	# An installation that was interrupted is finished first.
	dpkg --configure -a >&2
	apt-get -q -o DPkg::Lock::Timeout=600 update >&2
	apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@" >&2
}

# built NAME VERSION: whether the program is there that build makes.
built() { [ -x "$bin/$1" ] && [ "$(readlink "$bin/$1")" = "$1-$2" ]; }

# build NAME VERSION PACKAGE: builds a program with Go, aside, and renames it: whoever looks finds a whole one or none.
build() {
	if built "$1" "$2"; then return; fi
	command -v go >/dev/null || die "$1 is built with Go, and there is no go on the PATH"
	say "building $1 $2"
	rm -rf "$bin/.$1".*
	tmp=$(mktemp -d "$bin/.$1.XXXXXX")
	if ! (cd "$tmp" && GOFLAGS=-buildvcs=false GOWORK=off GOBIN=$tmp go install "$3@$2") >&2; then
		rm -rf "$tmp"
		die "$1 $2 was not built"
	fi
	mv "$tmp/$(basename "$3")" "$bin/$1-$2"
	ln -s "$1-$2" "$tmp/link"
	mv "$tmp/link" "$bin/$1"
	rm -rf "$tmp"
}

# shellcheck disable=SC2086 # a list of words
command -v apt-get >/dev/null || die "this machine has no apt-get; install these yourself:" $packages crane registry3
"$here/setup-newer.sh"
need=$(missing)
crane=$(sed -n 's/^[[:space:]]*github.com\/google\/go-containerregistry \(v[^ ]*\).*/\1/p' "$here/../../go.mod")
[ -n "$crane" ] || die "go.mod names no version of go-containerregistry"
if [ -z "$need" ] && built crane "$crane" && built registry3 "$registry3"; then exit 0; fi

# One at a time; whoever waited may find all done.
mkdir -p "$bin"
exec 9>"$bin/.lock"
flock 9

need=${need:+$(missing)}
if [ -n "$need" ]; then
	[ "$(id -u)" = 0 ] || die "installing$need needs root"
	say "installing$need"
	# shellcheck disable=SC2086 # a list of words
	apt $need
	need=$(missing)
	# shellcheck disable=SC2086 # a list of words
	[ -z "$need" ] || apt $need
fi
build crane "$crane" github.com/google/go-containerregistry/cmd/crane
build registry3 "$registry3" github.com/distribution/distribution/v3/cmd/registry
