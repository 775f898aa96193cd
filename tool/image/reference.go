package image

import (
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of an image's name (distribution, reference.go and regexp.go).
const (
	maxNameLen = 255
	maxTagLen  = 128
)

const (
	dockerDomain  = "docker.io"
	legacyDomain  = "index.docker.io"
	officialPath  = "library/"
	defaultTag    = "latest"
	tagPunct      = "_.-"
	identifierLen = 64
)

// Reference is an image's name with its tag, normalised as docker does it.
type Reference struct {
	// Domain is the registry, such as "docker.io", with its port if one was said.
	Domain string
	// Path is the repository in it, such as "library/web".
	Path string
	// Tag is the tag, "latest" if none was said.
	Tag string
}

// String is the whole reference, such as "docker.io/library/web:dev".
func (r Reference) String() string { return r.Domain + "/" + r.Path + ":" + r.Tag }

// ForPlatform is the name that one image of an [Index] has where names can't
// lead to several: the platform is in the tag, as in "web:dev-arm64" and "web:dev-armv7".
func (r Reference) ForPlatform(p ocispec.Platform) (Reference, error) {
	tag := r.Tag + "-" + p.Architecture + p.Variant
	if err := checkTag(tag); err != nil {
		return Reference{}, fmt.Errorf("image name %q, for %s: %w", r, platformText(&p), err)
	}
	r.Tag = tag
	return r, nil
}

// ParseReference reads a name with or without a tag, NAME[:TAG], by docker's
// grammar (distribution, reference.go). A digest is an error: an image that is
// being made is named by a tag.
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("image name %q: %w", s, err)
	}
	return r, nil
}

func parseReference(s string) (Reference, error) {
	if s == "" {
		return Reference{}, errors.New("want NAME or NAME:TAG")
	}
	if strings.Contains(s, "@") {
		return Reference{}, errors.New("a name to give can't have a digest; want NAME or NAME:TAG")
	}
	if len(s) == identifierLen && strings.Trim(s, "0123456789abcdef") == "" {
		return Reference{}, errors.New("64 hexadecimal digits are an image ID to every client, not a name")
	}
	r := Reference{Domain: dockerDomain, Tag: defaultTag}
	rest := s
	// As docker has it: the first component is a registry if it has a dot, a
	// port or a capital letter, or is "localhost".
	if first, after, ok := strings.Cut(s, "/"); ok &&
		(first == "localhost" || strings.ContainsAny(first, ".:") || strings.ToLower(first) != first) {
		r.Domain, rest = first, after
		if r.Domain == legacyDomain {
			r.Domain = dockerDomain
		}
		if err := checkDomain(r.Domain); err != nil {
			return Reference{}, err
		}
	}
	path, tag, tagged := strings.Cut(rest, ":")
	if tagged {
		if err := checkTag(tag); err != nil {
			return Reference{}, err
		}
		r.Tag = tag
	}
	for part := range strings.SplitSeq(path, "/") {
		if err := checkComponent(part); err != nil {
			return Reference{}, err
		}
	}
	if r.Domain == dockerDomain && !strings.Contains(path, "/") {
		path = officialPath + path
	}
	if len(path) > maxNameLen {
		return Reference{}, fmt.Errorf("the repository's name has %d characters, want at most %d", len(path), maxNameLen)
	}
	r.Path = path
	return r, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isAlnum(c byte) bool { return isDigit(c) || isLower(c) || 'A' <= c && c <= 'Z' }

func checkTag(s string) error {
	if s == "" {
		return errors.New("the tag is empty")
	}
	if len(s) > maxTagLen {
		return fmt.Errorf("the tag has %d characters, want at most %d", len(s), maxTagLen)
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && (strings.IndexByte(tagPunct, s[i]) < 0 || i == 0 && s[i] != '_') {
			return fmt.Errorf("tag %q: want letters, digits, _, and after the first also . and -", s)
		}
	}
	return nil
}

// checkComponent wants lower-case letters and digits, with ".", "_", "__" or
// any number of "-" between them.
func checkComponent(s string) error {
	bad := func(why string) error { return fmt.Errorf("component %q of the name: %s", s, why) }
	if s == "" {
		return errors.New("the name has an empty component")
	}
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && (isDigit(s[i]) || isLower(s[i])) {
			i++
		}
		if i == start {
			if 'A' <= s[i] && s[i] <= 'Z' {
				return bad("want lower-case letters")
			}
			return bad("want lower-case letters and digits, with a single . or _, a double __ or dashes between them")
		}
		start = i
		for i < len(s) && strings.IndexByte("._-", s[i]) >= 0 {
			i++
		}
		switch sep := s[start:i]; {
		case sep == "" && i == len(s):
			return nil
		case sep == "": // Neither letter nor separator: the next round refuses it.
		case i == len(s):
			return bad("it ends in " + sep)
		case sep != "." && sep != "_" && sep != "__" && strings.Trim(sep, "-") != "":
			return bad(fmt.Sprintf("%q can't stand between letters; want a single . or _, a double __ or dashes", sep))
		}
	}
	return nil
}

// checkDomain wants a host name or a bracketed IPv6 address, with or without a port.
func checkDomain(s string) error {
	bad := func(why string) error { return fmt.Errorf("registry %q: %s", s, why) }
	var port string
	var hasPort bool
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 2 || strings.Trim(s[1:end], "0123456789abcdefABCDEF:") != "" {
			return bad("want an IPv6 address in the brackets")
		}
		rest := s[end+1:]
		if rest != "" && rest[0] != ':' {
			return bad("want a port after the address")
		}
		port, hasPort = strings.TrimPrefix(rest, ":"), rest != ""
	} else {
		var host string
		host, port, hasPort = strings.Cut(s, ":")
		for label := range strings.SplitSeq(host, ".") {
			if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
				return bad("want a host name, or one with a port")
			}
			for i := range len(label) {
				if !isAlnum(label[i]) && label[i] != '-' {
					return bad(fmt.Sprintf("%q can't be in a host name", label[i:i+1]))
				}
			}
		}
	}
	if hasPort && (port == "" || strings.Trim(port, "0123456789") != "") {
		return bad("want a number as the port")
	}
	return nil
}
