package validate_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/validate"
)

const testdata = "../../testdata"

func TestImage_RealImagesAreClean(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd", "none"} {
		t.Run(compression, func(t *testing.T) {
			layers := imagetest.Mini(t, testdata, compression)
			img, blobs := imagetest.Build(t, image.Settings{System: "aarch64-linux", Env: []string{"A=two\nlines"}}, layers)
			archive := imagetest.Archive(t, img, blobs, "web:dev", "example.org:5000/team/web:dev", "web:1")
			layout := filepath.Join(t.TempDir(), "layout")
			if err := image.WriteLayout(layout, img, blobs, []string{"web:dev"}, image.Symlink); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{archive, layout} {
				r, err := validate.Image(context.Background(), path)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Err(); err != nil {
					t.Error(err)
				}
				t.Logf("%+v", r)
			}
		})
	}
}
