package main

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// index is the StrataIndex action: the descriptors of images in, the index, its
// descriptor and its digest out.
func index(args []string) error {
	const command = "index"
	var indexOut, descriptorOut, digestOut string
	var descriptors []string
	var annotations map[string]string
	if err := flags(command, args, map[string]func(string) error{
		"--descriptor": func(v string) error { descriptors = append(descriptors, v); return nil },
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
		"--index-output":      once(&indexOut),
		"--descriptor-output": once(&descriptorOut),
		"--digest-output":     once(&digestOut),
	}); err != nil {
		return err
	}
	if err := required(command, "--index-output", indexOut, "--descriptor-output", descriptorOut, "--digest-output", digestOut); err != nil {
		return err
	}
	if err := distinct(command, indexOut, descriptorOut, digestOut); err != nil {
		return err
	}
	images := make([]ocispec.Descriptor, len(descriptors))
	for i, path := range descriptors {
		b, err := readMetadata(path)
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
