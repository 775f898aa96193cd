#!/bin/sh
# Installs the container clients that the tests in this folder judge images by.
# The distribution's packages go where apt puts them; crane, which the
# distribution doesn't have, is built with Go at go.mod's version of
# go-containerregistry, into
#     ${STRATA_CLIENTS_BIN:-<home>/.cache/strata-clients/bin}
# where the tests look for it too. What is there already is left alone: a second
# run takes a few hundredths of a second. No daemon is started. setup-newer.sh,
# which is called here, unpacks a newer docker and containerd beside them.
# Needs Debian 12 or later (or a relative of it), root, and Go for crane.
set -eu

packages='
	buildah conmon containerd crun curl docker-registry docker.io iproute2
	libarchive-tools nginx-light podman runc skopeo tar umoci util-linux zstd
'

say() { echo "clients: $*" >&2; }
die() { say "error: $*"; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
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

# shellcheck disable=SC2086 # a list of words
command -v apt-get >/dev/null || die "this machine has no apt-get; install these yourself:" $packages crane
"$here/setup-newer.sh"
need=$(missing)
version=$(sed -n 's/^[[:space:]]*github.com\/google\/go-containerregistry \(v[^ ]*\).*/\1/p' "$here/../../go.mod")
[ -n "$version" ] || die "go.mod names no version of go-containerregistry"
crane() { [ -x "$bin/crane" ] && [ "$(readlink "$bin/crane")" = "crane-$version" ]; }
if [ -z "$need" ] && crane; then exit 0; fi

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

if ! crane; then
	command -v go >/dev/null || die "crane is built with Go, and there is no go on the PATH"
	say "building crane $version"
	rm -rf "$bin"/.crane.*
	tmp=$(mktemp -d "$bin/.crane.XXXXXX")
	# Built aside and renamed: whoever looks finds a whole crane or none.
	if ! (cd "$tmp" && GOFLAGS=-buildvcs=false GOWORK=off GOBIN=$tmp go install "github.com/google/go-containerregistry/cmd/crane@$version") >&2; then
		rm -rf "$tmp"
		die "crane $version was not built"
	fi
	mv "$tmp/crane" "$bin/crane-$version"
	ln -s "crane-$version" "$tmp/crane"
	mv "$tmp/crane" "$bin/crane"
	rm -rf "$tmp"
	say "crane is $bin/crane"
fi
