package clients_test

import (
	"os"
	"path/filepath"
	"testing"
)

// What commands of the image are run over a closure and a layer of files, lowest first: root's, and one that finds what the first has left.
var runLayers = []struct{ name, spec string }{
	{"1-setup.json", `{
  "command": ["/bin/sh", "-euc", "mkdir -m 2775 /srv/spool; echo $GREETING > /srv/spool/greeting; ln /srv/spool/greeting /srv/spool/again; chmod 0700 /home/web; rm /etc/nsswitch.conf; rm -r /usr/share/doc; mkdir /usr/share/doc; echo new > /usr/share/doc/new; ln -sf greeting /srv/spool/link; echo x > /tmp/scratch"],
  "env": {"GREETING": "hello", "PATH": "` + coreutilsPath + `/bin"},
  "owners": {"srv/spool": "1000:44", "srv/spool/**": "1000:44"}
}`},
	{"2-again.json", `{
  "command": ["/bin/sh", "-euc", "while read -r line; do echo $line again > /srv/said; done < /srv/spool/link; echo changed > /etc/motd"],
  "scratch": []
}`},
}

// runScript looks at what they have left.
const runScript = `
stat -c '%A %u:%g %n' /srv/spool /srv/spool/greeting /home/web /etc/motd
[ "$(stat -c %i /srv/spool/again)" = "$(stat -c %i /srv/spool/greeting)" ] && echo "one file with two names"
cat /srv/spool/link /srv/said /etc/motd
ls /etc/nsswitch.conf 2>/dev/null || echo "no /etc/nsswitch.conf"
ls /usr/share/doc
ls -A /tmp
`

const runOutput = `drwxrwsr-x 1000:44 /srv/spool
-rw-r--r-- 1000:44 /srv/spool/greeting
drwx------ 1000:1000 /home/web
-rw-r--r-- 0:0 /etc/motd
one file with two names
hello
hello again
changed
no /etc/nsswitch.conf
new`

func runImage(t *testing.T) *image {
	t.Helper()
	return built(t, "run", func(dir string) (*image, error) {
		files := filepath.Join(dir, "files.json")
		err := os.WriteFile(files, []byte(`{
  "entries": [
    {"type": "users", "users": [{"name": "web", "uid": 1000}]},
    {"type": "shell", "root": "`+bashPath+`"},
    {"type": "directory", "path": "tmp", "mode": "1777"},
    {"type": "directory", "path": "srv"},
    {"type": "text", "path": "etc/motd", "text": "Welcome.\n"},
    {"type": "text", "path": "usr/share/doc/old", "text": "old\n"}
  ]
}`), 0o644)
		args := []string{"build", "--lock", filepath.Join(root, "examples/web/strata.lock.json"), "--root", "web", "--max-layers", "12", "--files", files}
		for _, l := range runLayers {
			name := filepath.Join(dir, l.name)
			if err == nil {
				err = os.WriteFile(name, []byte(l.spec), 0o644)
			}
			args = append(args, "--run", name)
		}
		if err != nil {
			return nil, err
		}
		archive := filepath.Join(dir, "run.tar")
		args = append(args, "--env=PATH="+coreutilsPath+"/bin", "--entrypoint=/bin/sh", "--entrypoint=-c", "--cmd="+runScript, "--tag=web:run", "-o", archive)
		if err := strata(args...); err != nil {
			return nil, err
		}
		return readImage(dir, archive, "")
	})
}

// Real runtimes see what commands have left in the image: contents, modes, owners, links, and what is gone.
func TestRunLayer(t *testing.T) {
	img := runImage(t)
	judgeByOracle(t, img.archive)
	judgeRuns(t, img, runOutput)
}
