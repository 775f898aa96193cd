package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/image"
)

// index is the StrataIndex action: the descriptors of images in, the index, its
// descriptor and its digest out.
func index(_ context.Context, args []string) error {
	var indexOut, descriptorOut, digestOut string
	var descriptors []string
	var annotations map[string]string
	flags := action.Flags{
		"--descriptor": action.List(&descriptors),
		"--annotation": func(v string) error {
			name, value, ok := strings.Cut(v, "=")
			if _, twice := annotations[name]; !ok || name == "" || twice {
				return fmt.Errorf("want NAME=VALUE, each name once")
			}
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[name] = value
			return nil
		},
		"--index-output":      action.Text(&indexOut),
		"--descriptor-output": action.Text(&descriptorOut),
		"--digest-output":     action.Text(&digestOut),
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := action.Require("--index-output", indexOut, "--descriptor-output", descriptorOut, "--digest-output", digestOut); err != nil {
		return err
	}
	if err := action.Distinct("--index-output", indexOut, "--descriptor-output", descriptorOut, "--digest-output", digestOut); err != nil {
		return err
	}
	images := make([]ocispec.Descriptor, len(descriptors))
	for i, path := range descriptors {
		b, err := image.ReadMetadata(path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &images[i]); err != nil {
			return fmt.Errorf("descriptor %s: %w", path, err)
		}
	}
	x, err := image.BuildIndex(images, annotations)
	if err != nil {
		return err
	}
	descriptor, err := json.Marshal(x.Descriptor)
	if err != nil {
		return err
	}
	return writeAll(
		output{indexOut, x.Bytes},
		output{descriptorOut, descriptor},
		output{digestOut, []byte(x.Descriptor.Digest.String() + "\n")},
	)
}
