// Command hello prints a file of its runfiles.
package main

import (
	"fmt"
	"os"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

func main() {
	name, err := runfiles.Rlocation("rules_strata/rules/tests/files/generated.txt")
	if err == nil {
		var text []byte
		if text, err = os.ReadFile(name); err == nil {
			fmt.Printf("hello: %s", text)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "hello:", err)
	os.Exit(1)
}
