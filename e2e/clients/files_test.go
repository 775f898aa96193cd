package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Store paths that the image of files leads to.
const (
	coreutilsPath = "/nix/store/xh0v1vs3r59gf64s8377bs1b2ik38bzc-coreutils-9.1"
	certsPath     = "/nix/store/rx996as9dr4qb8n50ss0myr56a0hvk9s-nss-cacert-20250419"
	zonesPath     = "/nix/store/3g7kyd9ayrs8z97gz2m6wjcbjlay9j31-tzdata-2026f"
)

// The layers of files of that image, lowest first: what a small image lacks; files; and one that takes some of them away again.
var fileLayers = map[string]string{
	"1-etc.json": `{
  "entries": [
    {"type": "users", "shadow": true,
     "users": [{"name": "web", "uid": 1000, "groups": ["video"], "comment": "Web server"}],
     "groups": [{"name": "video", "gid": 44}]},
    {"type": "ca_certificates", "root": "` + certsPath + `"},
    {"type": "time_zones", "root": "` + zonesPath + `", "zone": "Europe/Berlin"},
    {"type": "shell", "root": "` + bashPath + `"},
    {"type": "env", "root": "` + coreutilsPath + `"},
    {"type": "directory", "path": "tmp", "mode": "1777"}
  ]
}`,
	"2-files.json": `{
  "entries": [
    {"type": "links", "root": "` + coreutilsPath + `", "subdirs": ["bin"]},
    {"type": "file", "from": "run.sh", "path": "usr/bin/run"},
    {"type": "folder", "from": "site", "path": "srv/www"},
    {"type": "tar", "from": "linked.tar", "path": "opt"},
    {"type": "directory", "path": "var/lib/web", "mode": "0750"},
    {"type": "text", "text": "gone\n", "path": "etc/gone"},
    {"type": "text", "text": "gone\n", "path": "var/cache/app/gone"},
    {"type": "symlink", "path": "srv/current", "target": "www/index.html"}
  ],
  "modes": {"usr/bin/run": "4755"},
  "owners": {"var/lib/web": "1000:1000 web:web"},
  "capabilities": {"srv/www/index.html": "cap_net_raw=ep"}
}`,
	"3-removals.json": `{
  "entries": [
    {"type": "remove", "path": "etc/gone"},
    {"type": "clear", "path": "var/cache/app"},
    {"type": "text", "text": "new\n", "path": "var/cache/app/new"}
  ]
}`,
}

// filesScript runs as the image's user, by its own shell and tools.
const filesScript = `
echo "I am $(id -un) $(id -u):$(id -g) in $(id -Gn)"
stat -c '%A %u:%g %n' /tmp /root /home/web /etc/passwd /etc/shadow /var/lib/web /usr/bin/run /opt/a
[ "$(stat -c %i /opt/a)" = "$(stat -c %i /opt/b)" ] && echo "one file with two names"
/usr/bin/run
cat /srv/current
head -n 1 /etc/nsswitch.conf
for f in /etc/ssl/certs/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
  read -r line < "$f"
  [ "$line" = "-----BEGIN CERTIFICATE-----" ] && [ "$(wc -l < "$f")" -gt 1000 ] && echo "certificates"
done
date -d @1700000000 '+%H:%M %Z'
/usr/bin/env echo env
touch /tmp/mine && echo "wrote to /tmp"
ls /etc/gone 2>/dev/null || echo "no /etc/gone"
ls /var/cache/app
`

const filesOutput = `I am web 1000:1000 in web video
drwxrwxrwt 0:0 /tmp
drwx------ 0:0 /root
drwxr-xr-x 1000:1000 /home/web
-rw-r--r-- 0:0 /etc/passwd
-rw------- 0:0 /etc/shadow
drwxr-x--- 1000:1000 /var/lib/web
-rwsr-xr-x 0:0 /usr/bin/run
-rw-r--r-- 7:8 /opt/a
one file with two names
run
<p>index
passwd: files
certificates
certificates
certificates
23:13 CET
env
wrote to /tmp
no /etc/gone
new`

// filesImage is the web server's closure with these layers on top.
func filesImage(t *testing.T) *image {
	t.Helper()
	need(t, "tar")
	return built(t, "files", func(dir string) (*image, error) {
		files := map[string]string{"run.sh": "#!/bin/sh\necho run\n", "site/index.html": "<p>index\n", "linked/a": "a\n"}
		for name, text := range fileLayers {
			files[name] = text
		}
		for name, text := range files {
			name = filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		if err := os.Link(filepath.Join(dir, "linked/a"), filepath.Join(dir, "linked/b")); err != nil {
			return nil, err
		}
		run(t, "tar", "--owner=7", "--group=8", "--mode=0644", "-C", filepath.Join(dir, "linked"), "-cf", filepath.Join(dir, "linked.tar"), "a", "b")
		archive := filepath.Join(dir, "files.tar")
		err := strata("build", "--lock", filepath.Join(root, "examples/web/strata.lock.json"), "--root", "web", "--max-layers", "12",
			"--files", filepath.Join(dir, "1-etc.json"), "--files", filepath.Join(dir, "2-files.json"), "--files", filepath.Join(dir, "3-removals.json"),
			"--user=web", "--env=PATH=/usr/bin:/bin", "--entrypoint=/bin/sh", "--entrypoint=-c", "--cmd="+filesScript, "--tag=web:files", "-o", archive)
		if err != nil {
			return nil, err
		}
		return readImage(dir, archive, "")
	})
}

// Layers of files do what they promise under real runtimes: users by name, modes and owners, links, certificates, time
// zones, removals.
func TestFiles(t *testing.T) {
	img := filesImage(t)
	judgeByOracle(t, img.archive)
	judgeRuns(t, img, filesOutput)
	t.Run("umoci", func(t *testing.T) {
		needIsolation(t)
		need(t, "umoci")
		rootfs := filepath.Join(umociUnpack(t, img), "rootfs")
		var value [64]byte
		n, err := syscall.Getxattr(filepath.Join(rootfs, "srv/www/index.html"), "security.capability", value[:])
		if err != nil || !strings.HasPrefix(string(value[:max(n, 0)]), "\x01\x00\x00\x02\x00\x20\x00\x00") {
			t.Errorf("capabilities %q, %v: want those of cap_net_raw=ep", value[:max(n, 0)], err)
		}
		if _, err := os.Lstat(filepath.Join(rootfs, "etc/gone")); !os.IsNotExist(err) {
			t.Errorf("/etc/gone: %v, want it removed", err)
		}
	})
}

// A program of the build with its runfiles, out of layers that Bazel made.
func TestFiles_Program(t *testing.T) {
	archive := given("STRATA_PROGRAM_ARCHIVE")
	if archive == "" {
		t.Skip("under Bazel only")
	}
	img := built(t, "program", func(dir string) (*image, error) { return readImage(dir, archive, "") })
	judgeByOracle(t, img.archive)
	p := podman(t, "runc")
	name := podmanLoad(t, p, img)
	for program, want := range map[string]string{"/app/hello": "hello: generated", "/app/native": "native"} {
		if got := p.run(t, podmanRun("--rm", "--entrypoint="+program, name)...); got != want {
			t.Errorf("%s says %q, want %q", program, got, want)
		}
	}
}
