package runlayer

import (
	"context"
	"io"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/layer"
)

// Write runs the program that s names over image, and writes the layer of what it changed to w. It works in a folder that it
// makes in dir ("": the system's for temporary files), where the image is unpacked; nothing is left of that. Of the options it
// heeds Compression, Level, Workers and Mtree. It returns what the layer's digest file says.
//
// A program that fails is a [CommandError]; where no root can be had for it, the error is an [UnavailableError]. After
// an error, w has got some part of a blob that must not be used, or nothing. Once ctx ends, all that was started is killed.
func Write(ctx context.Context, w io.Writer, s *Spec, image *Image, dir string, o layer.Options) (*digestfile.File, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := s.checkScratch(image.stores()); err != nil {
		return nil, err
	}
	if err := layer.CheckLevel(o.Compression, o.Level); err != nil {
		return nil, err
	}
	return write(ctx, w, s, image, dir, o)
}
