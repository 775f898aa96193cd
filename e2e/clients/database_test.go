package clients_test

import (
	"path/filepath"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nixtest"
)

const grepPath = "/nix/store/ijxvdx78ygdjwpxhq01h3lcvhhcp26rl-gnugrep-3.8"

// databaseScript has the Nix that is first in PATH check the store of the image that it runs in, tell what it knows, and delete what is
// garbage: a file that the script adds.
const databaseScript = `
set -e
nix-store --verify --check-contents
nix-store --query --requisites ` + webPath + ` | wc -l
nix-store --query --references ` + bashPath + `
nix-store --query --hash ` + bashPath + `
nix-store --query --deriver ` + bashPath + `
nix path-info --sigs ` + bashPath + ` | cut -c -100
nix-store --gc --print-roots | tr -d '"' | grep -v /proc/
echo garbage > /tmp/garbage
added=$(nix-store --add /tmp/garbage)
nix-store --gc > /dev/null
[ -e "$added" ] || echo "the garbage is gone"
nix-store --verify
`

const databaseOutput = `40
/nix/store/fkrb1qrhrnbscg7h6adzd8zp536bkfgb-glibc-2.36-9
/nix/store/qf1h8dvj1rkrczcmckiksaf5krvv2v2a-ncurses-6.4
` + bashPath + `
sha256:0ddsh52md5xnnsjs90xly1jrnc3vs8pvb644k0g8xv17axrijp9s
unknown-deriver
` + bashPath + `	strata-web-1:+YlHglEPaDFRzWqsDIxvdXrWmLAGQ3M
/nix/var/nix/gcroots/docker/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0 -> ` + webPath + `
the garbage is gone`

// databaseImage is the web server's closure with Nix' database of it.
func databaseImage(t *testing.T) *image {
	t.Helper()
	return built(t, "database", func(dir string) (*image, error) {
		archive := filepath.Join(dir, "database.tar")
		err := strata("build", "--lock", filepath.Join(root, "examples/web/strata.lock.json"), "--root", "web", "--max-layers", "12", "--nix-database",
			"--directory=tmp=1777", "--directory=root", "--entrypoint="+bashPath+"/bin/bash", "--entrypoint=-c", "--cmd="+databaseScript, "--tag=web:database", "-o", archive)
		if err != nil {
			return nil, err
		}
		return readImage(dir, archive, "")
	})
}

// Real Nix in a container of the image, root in a file system that it may write, finds the store whole and knows what is in it.
func TestDatabase(t *testing.T) {
	img := databaseImage(t)
	judgeByOracle(t, img.archive)
	p := podman(t, "runc")
	name := podmanLoad(t, p, img)
	for _, version := range []string{nixtest.Old, nixtest.New} {
		t.Run(version, func(t *testing.T) {
			nix := nixtest.Installed(t, version)
			output := p.run(t, podmanRun("--rm", "--volume="+nix+":"+nix+":ro", "--env=HOME=/root", "--env=USER=root",
				"--env=PATH="+nix+"/bin:"+coreutilsPath+"/bin:"+grepPath+"/bin",
				"--env=NIX_CONFIG=build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command", name)...)
			if output != databaseOutput {
				t.Errorf("the container says\n%s\nwant\n%s", output, databaseOutput)
			}
		})
	}
}
