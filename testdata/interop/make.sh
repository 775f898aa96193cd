#!/usr/bin/env bash
# Makes the images beside this script anew, by the programs that rules_oci and rules_img run in their actions:
#   make.sh RULES_OCI IMG
# RULES_OCI is a checkout of github.com/bazel-contrib/rules_oci, whose scripts are taken as they are; IMG is the program
# img of github.com/bazel-contrib/rules_img (img_tool/cmd/img). Needs jq 1.7, regctl (github.com/regclient/regclient),
# GNU coreutils, bsdtar and zstd on the PATH. regctl's, img's and gzip's versions show in the bytes.
set -euo pipefail
rules_oci=$(realpath "$1")
img=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# What the layers hold: a file, and a path of a store.
mkdir -p etc nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a
echo interop >etc/motd
echo text >nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/file
chmod 0444 nix/store/*/file
chmod 0555 nix/store/*-a
layer() { tar -c --format=ustar --owner=0 --group=0 --mtime=@1 --sort=name "$@"; }
layer etc/motd >motd.tar
layer --mode=u=rwx,go=rx --no-recursion nix nix/store >store.tar
layer nix/store/*-a >a.tar
bsdtar -c --format=ustar -f both.tar @store.tar @a.tar
mv both.tar store.tar
gzip -9n <store.tar >store.tar.gz

# rules_oci calls one program with all of coreutils in it.
mkdir bin
printf '#!/bin/sh\nexec "$@"\n' >bin/coreutils
chmod +x bin/coreutils
template() { # script, output
	sed -e "s|{{jq_path}}|$3|g; s|{{regctl_path}}|$(dirname "$(command -v regctl)")|g; s|{{coreutils_path}}|$4|g" \
		-e "s|{{treeartifact_symlinks}}|0|g; s|{{output}}|$tmp/$5|g" "$rules_oci/oci/private/$1" >"$2"
}
oci_image() { # output, platform
	template image.sh "$1.sh" "$(dirname "$(command -v jq)"):/usr/bin:/bin" "$tmp/bin" "$1"
	for l in motd.tar store.tar.gz; do
		compression=
		[ "$l" != store.tar.gz ] || compression=gzip
		jq -n --arg digest "sha256:$(sha256sum <$l | cut -d' ' -f1)" --arg diffid "sha256:$(sha256sum <"${l%.gz}" | cut -d' ' -f1)" \
			--argjson size "$(stat -c %s $l)" --arg compression "$compression" \
			'{digest: $digest, diffid: $diffid, size: $size, compression: $compression, history: {created: "1970-01-01T00:00:00Z", created_by: "bazel build"}}' >"$l.json"
	done
	mkdir -p "$1/blobs/sha256"
	echo '{"imageLayoutVersion": "1.0.0"}' >"$1/oci-layout"
	echo '{"schemaVersion": 2, "manifests": []}' >"$1/index.json"
	bash "$1.sh" "--scratch=$2" --layer=motd.tar=motd.tar.json --layer=store.tar.gz=store.tar.gz.json
}
oci_image amd64 '{"os": "linux", "architecture": "amd64"}'
oci_image arm64 '{"os": "linux", "architecture": "arm64", "variant": "v8"}'
template image_index.sh.tpl index.sh "$(command -v jq)" "$tmp/bin/coreutils" index
blobs() { (cd "$1" && printf -- '--blob=%s\n' blobs/sha256/*); }
# shellcheck disable=SC2046 # one argument a line
bash index.sh --output=index --image=amd64 $(blobs amd64) --image=arm64 $(blobs arm64)
pack() { (cd "$1" && layer -- *) >"$here/$2"; }
pack amd64 oci_image.tar
pack index oci_image_index.tar

# oci_load's archive.
echo interop:1 >tags
sed -e "s|{{format}}|docker|; s|{{jq_path}}|$(command -v jq)|; s|{{coreutils_path}}|$tmp/bin/coreutils|; s|{{tar}}|bsdtar|" \
	-e "s|{{image_dir}}|amd64|; s|{{tags}}|tags|; s|{{output}}|mtree|; s|{{json_out}}|manifest.json|" "$rules_oci/oci/private/tarball.sh.tpl" >tarball.sh
bash tarball.sh
(echo '#mtree'; grep -v '^#' mtree) | bsdtar -c --format=ustar -f "$here/oci_load.tar" @-

# rules_img.
printf 'etc/motd\0f%s\n' etc/motd >files
"$img" layer --format=zstd --metadata=motd.json --add-from-file=files motd.blob
printf 'nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/file\0f%s\n' nix/store/*-a/file >files
"$img" layer --format=gzip --create-parent-directories --metadata=store.json --add-from-file=files store.blob
"$img" manifest --os linux --architecture amd64 --layer-from-metadata motd.json --layer-from-metadata store.json --env A=b --manifest m.json --config c.json
"$img" oci-layout --manifest m.json --config c.json --layer motd.json=motd.blob --layer store.json=store.blob --output img
"$img" docker-save --manifest m.json --config c.json --layer motd.json=motd.blob --layer store.json=store.blob --repo-tag interop:1 --output "$here/image_load.tar"
pack img image_manifest.tar
chmod -R u+w .
