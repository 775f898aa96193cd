package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// dockerAPI speaks to a docker daemon.
type dockerAPI struct {
	host string // as people know it
	http *http.Client
}

// maxAnswer bounds an answer of the daemon's: ten thousand images come to some 5 MB.
const maxAnswer = 64 << 20

// pingTimeout is how long a daemon may take to say that it is there.
const pingTimeout = 10 * time.Second

// newDockerAPI returns the API at host, as DOCKER_HOST has it.
//
// unix: sockets and plain tcp: are spoken to directly. For what needs more (ssh:,
// TLS) docker's own command is the way: "docker system dial-stdio" connects its standard
// input and output with the daemon.
func newDockerAPI(host string) (*dockerAPI, error) {
	scheme, at, ok := strings.Cut(host, "://")
	if !ok {
		return nil, fmt.Errorf("host %q: want unix://PATH, tcp://HOST:PORT or ssh://HOST", host)
	}
	var dial func(ctx context.Context) (net.Conn, error)
	switch {
	case scheme == "unix":
		dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", at) }
	case scheme == "tcp" && os.Getenv("DOCKER_TLS_VERIFY") == "" && os.Getenv("DOCKER_TLS") == "":
		dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimSuffix(at, "/"))
		}
	case scheme == "tcp" || scheme == "ssh" || scheme == "npipe":
		docker, err := exec.LookPath("docker")
		if err != nil {
			return nil, hinted{fmt.Errorf("host %s: %w", host, err), "a daemon behind " + scheme + ": with TLS or SSH is reached through the docker command; install it"}
		}
		dial = func(ctx context.Context) (net.Conn, error) {
			return dialCommand(docker, "--host", host, "system", "dial-stdio")
		}
	default:
		return nil, fmt.Errorf("host %q: want unix://PATH, tcp://HOST:PORT or ssh://HOST", host)
	}
	return &dockerAPI{host: host, http: &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
	}}}, nil
}

// dockerHosts returns where the daemon may be, most likely first: what p says,
// the environment, the current context, the usual sockets.
func dockerHosts(p Place) ([]string, error) {
	if p.Host != "" {
		return []string{p.Host}, nil
	}
	if h := os.Getenv("DOCKER_HOST"); h != "" {
		return []string{h}, nil
	}
	host, err := contextHost()
	if err != nil || host != "" {
		return []string{host}, err
	}
	hosts := []string{"unix:///var/run/docker.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		hosts = append(hosts, "unix://"+filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		hosts = append(hosts, "unix://"+filepath.Join(home, ".docker/run/docker.sock"))
	}
	return hosts, nil
}

// contextHost is the host of docker's current context; "" if that is the default one
// (docker CLI, cli/context/store: a context's folder is named by its name's SHA-256).
func contextHost() (string, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", nil
		}
		dir = filepath.Join(home, ".docker")
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		var config struct {
			CurrentContext string `json:"currentContext"`
		}
		if err := readJSONFile(filepath.Join(dir, "config.json"), &config); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		name = config.CurrentContext
	}
	if name == "" || name == "default" {
		return "", nil
	}
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	sum := sha256.Sum256([]byte(name))
	if err := readJSONFile(filepath.Join(dir, "contexts/meta", hex.EncodeToString(sum[:]), "meta.json"), &meta); err != nil {
		return "", fmt.Errorf("docker's context %q: %w", name, err)
	}
	return meta.Endpoints["docker"].Host, nil
}

func readJSONFile(file string, v any) error {
	const most = 1 << 20
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, most)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// dockerError is a daemon's answer that says no.
type dockerError struct {
	status  int
	message string
}

func (e *dockerError) Error() string {
	return fmt.Sprintf("the daemon answers %d: %s", e.status, e.message)
}

// do sends a request. The caller closes the body of the answer, which is a good one.
func (d *dockerAPI) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	answer, err := d.http.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // The URL would be one that nobody knows.
		}
		return nil, fmt.Errorf("%s: %w", d.host, err)
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	var said struct{ Message string }
	if json.Unmarshal(b, &said) != nil || said.Message == "" {
		said.Message = string(bytes.TrimSpace(b))
	}
	return nil, &dockerError{answer.StatusCode, said.Message}
}

// get reads a JSON answer into v.
func (d *dockerAPI) get(ctx context.Context, path string, query url.Values, v any) error {
	answer, err := d.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(v); err != nil {
		return fmt.Errorf("%s: %s: %w", d.host, path, err)
	}
	return nil
}

// load sends an archive that write makes, and returns an error also if the daemon only says so in its report.
func (d *dockerAPI) load(ctx context.Context, write func(io.Writer) error) error {
	r, w := io.Pipe()
	wrote := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		wrote <- err
	}()
	answer, err := d.do(ctx, http.MethodPost, "/images/load", url.Values{"quiet": {"1"}}, r)
	if err == nil {
		err = loadReport(answer.Body)
		answer.Body.Close()
	}
	// The daemon may have had enough before the end.
	r.CloseWithError(errEnough)
	if e := <-wrote; e != nil && !errors.Is(e, errEnough) {
		return e // What the daemon says then is that the archive is cut.
	}
	return err
}

var errEnough = errors.New("the daemon has read enough")

// loadReport reads the messages that a daemon sends about a load.
func loadReport(r io.Reader) error {
	in := json.NewDecoder(io.LimitReader(r, maxAnswer))
	for {
		var m struct {
			Error string `json:"error"`
		}
		switch err := in.Decode(&m); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("the daemon's report: %w", err)
		case m.Error != "":
			return &dockerError{http.StatusOK, m.Error}
		}
	}
}
