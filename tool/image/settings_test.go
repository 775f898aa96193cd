package image

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/schema"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

func TestParseSettings_Faults(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // in the error; "" for none
	}{
		{"least", `{"system":"x86_64-linux"}`, ""},
		{"platform said out", `{"architecture":"arm","variant":"v7"}`, ""},
		{"null", `{"system":"x86_64-linux","env":null}`, "line 1, column 32: env: want a list, found null"},
		{
			"all", `{"architecture":"amd64","os":"linux","variant":"v2","entrypoint":["/nix/x"],"cmd":["","a b"],"env":["A=","B=b=c","C=two\nlines"],
			"labels":{"a":"","b":"<&>"},"user":"nobody:1000","workdir":"/","ports":["1","65535/udp","5/sctp"],"volumes":["/data/"],
			"stop_signal":"SIGRTMIN+3","created":"2024-02-29T12:00:00.5+01:00","annotations":{"k":"v"}}`, "",
		},
		{"not an object", `[]`, "want an object, found a list"},
		{"nothing", ``, "the document ends too early"},
		{"cut off", `{"system":"x86_64-linux"`, "line 1, column 25: the document ends too early"},
		{"more behind", `{"system":"x86_64-linux"}{}`, "line 1, column 26: more follows"},
		{"unknown field", `{"system":"x86_64-linux","entryPoints":[]}`, `entryPoints: unknown field; known are system,`},
		{"other case", `{"system":"x86_64-linux","Env":[]}`, `Env: unknown field`},
		{"twice", `{"system":"x86_64-linux","cmd":[],"cmd":[]}`, `"cmd" is there twice`},
		{"not UTF-8", "{\"system\":\"x86_64-linux\",\"user\":\"\xff\"}", "not UTF-8"},
		{"wrong type", `{"system":"x86_64-linux","env":"A=b"}`, "env: want a list, found a string"},
		{"wrong element", `{"system":"x86_64-linux","cmd":["",1]}`, "cmd[1]: want a string, found a number"},
		{"wrong label", `{"system":"x86_64-linux","labels":{"a":1}}`, "labels.a: want a string, found a number"},
		{"label twice", `{"system":"x86_64-linux","labels":{"a":"","a":""}}`, `"a" is there twice`},
		{"wrong string", `{"system":7}`, "system: want a string, found a number"},

		{"no platform", `{}`, "system: want a system, such as x86_64-linux, or an architecture"},
		{"unknown system", `{"system":"x86_64-darwin"}`, `system "x86_64-darwin": no container platform is known for it; want one of aarch64-linux,`},
		{"system and architecture", `{"system":"x86_64-linux","architecture":"amd64"}`, `system: "x86_64-linux": say either this or`},
		{"Nix's name of the CPU", `{"architecture":"x86_64"}`, `architecture: "x86_64": want one of 386, amd64, arm, arm64,`},
		{"other os", `{"architecture":"amd64","os":"darwin"}`, `os: "darwin": want "linux"`},
		{"variant", `{"architecture":"arm","variant":"7"}`, `variant: "7": want v and a number`},

		{"env without =", `{"system":"x86_64-linux","env":["PATH"]}`, `env: "PATH": want NAME=value`},
		{"env without name", `{"system":"x86_64-linux","env":["=x"]}`, `env: "=x": want NAME=value`},
		{"env twice", `{"system":"x86_64-linux","env":["A=1","A=2"]}`, `env: "A=2": A is set twice`},
		{"env with NUL", `{"system":"x86_64-linux","env":["A=\u0000"]}`, `env: "A=\x00": holds a NUL character`},
		{"cmd with NUL", `{"system":"x86_64-linux","cmd":["a\u0000b"]}`, `cmd: "a\x00b": holds a NUL character`},
		{"entrypoint empty", `{"system":"x86_64-linux","entrypoint":[""]}`, `entrypoint: "": the program's name is empty`},
		{"label without key", `{"system":"x86_64-linux","labels":{"":"x"}}`, `labels: "": the key is empty`},
		{"label with NUL", `{"system":"x86_64-linux","labels":{"k":"\u0000"}}`, `labels: "k": holds a NUL character`},
		{"annotation without key", `{"system":"x86_64-linux","annotations":{"":"x"}}`, `annotations: "": the key is empty`},

		{"user with three parts", `{"system":"x86_64-linux","user":"a:b:c"}`, `user: "a:b:c": want USER or USER:GROUP`},
		{"user without group", `{"system":"x86_64-linux","user":"a:"}`, `user: "a:": want USER or USER:GROUP`},
		{"group alone", `{"system":"x86_64-linux","user":":a"}`, `user: ":a": want USER or USER:GROUP`},
		{"negative user", `{"system":"x86_64-linux","user":"-1"}`, `user: "-1": want USER or USER:GROUP`},
		{"user with a space", `{"system":"x86_64-linux","user":"a b"}`, `user: "a b": want USER or USER:GROUP`},
		{"user too large", `{"system":"x86_64-linux","user":"0:2147483648"}`, `user: "0:2147483648": 2147483648 is no user or group ID: want 0 to 2147483647`},

		{"relative workdir", `{"system":"x86_64-linux","workdir":"app"}`, `workdir: "app": want an absolute path`},
		{"workdir with ..", `{"system":"x86_64-linux","workdir":"/a/../b"}`, `workdir: "/a/../b": want a path without ".."`},
		{"workdir with NUL", `{"system":"x86_64-linux","workdir":"/a\u0000"}`, `workdir: "/a\x00": holds a NUL character`},
		{"volume relative", `{"system":"x86_64-linux","volumes":["data"]}`, `volumes: "data": want an absolute path`},
		{"volume twice", `{"system":"x86_64-linux","volumes":["/data","/data"]}`, `volumes: "/data": listed twice`},
		{"volume is the root", `{"system":"x86_64-linux","volumes":["//"]}`, `volumes: "//": the root can't be a volume`},

		{"port 0", `{"system":"x86_64-linux","ports":["0"]}`, `ports: "0": want PORT or PORT/PROTOCOL with a port from 1 to 65535`},
		{"port too large", `{"system":"x86_64-linux","ports":["65536"]}`, `ports: "65536": want PORT`},
		{"port with a zero", `{"system":"x86_64-linux","ports":["080"]}`, `ports: "080": want PORT`},
		{"port empty", `{"system":"x86_64-linux","ports":[""]}`, `ports: "": want PORT`},
		{"port range", `{"system":"x86_64-linux","ports":["1-2"]}`, `ports: "1-2": want PORT`},
		{"protocol", `{"system":"x86_64-linux","ports":["80/http"]}`, `ports: "80/http": protocol "http": want tcp, udp or sctp`},
		{"protocol in capitals", `{"system":"x86_64-linux","ports":["80/TCP"]}`, `protocol "TCP": want tcp, udp or sctp`},
		{"port twice", `{"system":"x86_64-linux","ports":["80","80/tcp"]}`, `ports: "80/tcp": 80/tcp is listed twice`},

		{"signal", `{"system":"x86_64-linux","stop_signal":"TERM"}`, `stop_signal: "TERM": want a signal such as SIGTERM`},
		{"signal unknown", `{"system":"x86_64-linux","stop_signal":"SIGFOO"}`, `stop_signal: "SIGFOO": want a signal`},
		{"signal number", `{"system":"x86_64-linux","stop_signal":"65"}`, `stop_signal: "65": want a signal`},
		{"signal beyond", `{"system":"x86_64-linux","stop_signal":"SIGRTMIN+31"}`, `stop_signal: "SIGRTMIN+31": want a signal`},

		{"created", `{"system":"x86_64-linux","created":"yesterday"}`, `created: "yesterday": want a time as RFC 3339 has it, such as 1970-01-01T00:00:01Z`},
		{"created now", `{"system":"x86_64-linux","created":"now"}`, `created: "now"`},
		{"created before the year 0", `{"system":"x86_64-linux","created":"0000-01-01T00:00:00+01:00"}`, `created: "0000-`},
		{"created after 9999", `{"system":"x86_64-linux","created":"9999-12-31T23:59:59-01:00"}`, `created: "9999-`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseSettings([]byte(test.in))
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v: want one with %q", err, test.want)
			}
		})
	}
}

// All faults are told at once, in an order that doesn't change.
func TestParseSettings_EveryFault(t *testing.T) {
	const in = `{"architecture":"vax","env":["x"],"user":":","labels":{"":"","a":"\u0000"},"annotations":{"":""}}`
	_, first := ParseSettings([]byte(in))
	if first == nil || strings.Count(first.Error(), "\n") != 6 {
		t.Fatalf("want 6 faults, got %v", first)
	}
	for range 20 {
		if _, err := ParseSettings([]byte(in)); err.Error() != first.Error() {
			t.Fatalf("got another time\n%v\nthan\n%v", err, first)
		}
	}
}

func TestPlatformOf(t *testing.T) {
	for system, want := range map[string]string{
		"x86_64-linux": "linux/amd64", "aarch64-linux": "linux/arm64", "i686-linux": "linux/386",
		"armv7l-linux": "linux/arm/v7", "armhf-linux": "linux/arm/v7", "armv6l-linux": "linux/arm/v6",
		"riscv64-linux": "linux/riscv64", "powerpc64le-linux": "linux/ppc64le", "mips64el-linux": "linux/mips64le",
		"s390x-linux": "linux/s390x", "loongarch64-linux": "linux/loong64",
	} {
		p, err := PlatformOf(system)
		got := p.OS + "/" + p.Architecture
		if p.Variant != "" {
			got += "/" + p.Variant
		}
		if err != nil || got != want {
			t.Errorf("%s: got %s (%v), want %s", system, got, err, want)
		}
	}
	if _, err := PlatformOf("x86_64-linux-musl"); err == nil {
		t.Error("an unknown system is taken")
	}
}

// What is taken makes a config that image-spec takes, and reads back the same.
func FuzzParseSettings(f *testing.F) {
	f.Add(`{"system":"x86_64-linux"}`)
	f.Add(`{"architecture":"arm","os":"linux","variant":"v7","entrypoint":["/a"],"cmd":["b"],"env":["A=b"],"labels":{"a":"b"}}`)
	f.Add(`{"system":"i686-linux","user":"1:2","workdir":"/x","ports":["8080"],"volumes":["/v"],"stop_signal":"9","created":"2024-01-01T00:00:00Z"}`)
	f.Add(`{"system":"i686-linux","annotations":{"a":"\ud800"},"env":["A=\u2028<>&"]}`)
	f.Add(`{"SYSTEM":null}`)
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSettings([]byte(in))
		if err != nil {
			return
		}
		img, err := Build(*s, []*digestfile.File{testLayer("a", "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a")})
		if err != nil {
			t.Fatalf("%s: taken, but: %v", in, err)
		}
		plain := true // image-spec's own check takes no newlines in the environment.
		for _, e := range s.Env {
			plain = plain && !strings.Contains(e, "\n")
		}
		if err := schema.ValidatorMediaTypeImageConfig.Validate(bytes.NewReader(img.Config)); plain && err != nil {
			t.Errorf("%s: config %s: %v", in, img.Config, err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSettings(b)
		if err != nil {
			t.Fatalf("%s: written as %s: %v", in, b, err)
		}
		second, err := Build(*again, []*digestfile.File{testLayer("a", "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a")})
		if err != nil || !bytes.Equal(second.Manifest, img.Manifest) {
			t.Errorf("%s: written as %s it gives another image (%v)", in, b, err)
		}
	})
}
