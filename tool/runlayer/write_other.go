//go:build !linux

package runlayer

import (
	"context"
	"errors"
	"io"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/layer"
)

// Main does nothing where there are no namespaces.
func Main() {}

func write(context.Context, io.Writer, *Spec, *Image, string, layer.Options) (*digestfile.File, error) {
	return nil, errors.New("a command of an image can be run on Linux only")
}
