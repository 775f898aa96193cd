package clients_test

import (
	"os"
	"os/exec"
	"testing"
)

// need skips the test, or fails it where clients are required, unless every
// client is on the PATH.
func need(t *testing.T, clients ...string) {
	t.Helper()
	for _, c := range clients {
		if _, err := exec.LookPath(c); err != nil {
			missing(t, c+" is not installed: run e2e/clients/setup.sh")
		}
	}
}

// needIsolation is need for what only root in its own namespaces may do:
// unpacking with owners, mounting, running containers, listening on fixed ports.
func needIsolation(t *testing.T) {
	t.Helper()
	if !isolated {
		missing(t, notIsolated.Error())
	}
}

func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("STRATA_REQUIRE_CLIENTS") == "1" {
		t.Fatal(why + " (STRATA_REQUIRE_CLIENTS=1 lets no check be skipped)")
	}
	t.Skip(why)
}
