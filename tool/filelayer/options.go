package filelayer

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// The setters read options as people write them. Their errors name the value.

// maxMtime is what a tar's header has room for.
const maxMtime = 1<<33 - 1

// SetOwner reads "UID:GID".
func (o *Options) SetOwner(text string) error {
	owner, err := ParseOwner(text)
	if err != nil {
		return err
	}
	if o.Owner != nil && owner.UserName == "" { // The names came first.
		owner.UserName, owner.GroupName = o.Owner.UserName, o.Owner.GroupName
	}
	o.Owner = owner
	return nil
}

// SetOwnerNames reads "USER:GROUP", the names of the Owner.
func (o *Options) SetOwnerNames(text string) error {
	if o.Owner == nil {
		return fmt.Errorf("%q: want owner too, and before it; names without numbers are no owner", text)
	}
	return setOwnerNames(o.Owner, text)
}

// SetMtime takes seconds since 1970.
func (o *Options) SetMtime(unix int64) error {
	if unix < 0 || unix > maxMtime {
		return fmt.Errorf("%d: want 0 to %d seconds since 1970", unix, int64(maxMtime))
	}
	o.MtimeUnix = &unix
	return nil
}

// SetCollisions reads what to do with two entries for one path.
func (o *Options) SetCollisions(text string) error {
	switch text {
	case CollisionsError, CollisionsFirst, CollisionsLast:
		o.Collisions = text
		return nil
	}
	return fmt.Errorf("%q: want one of %s, %s, %s", text, CollisionsError, CollisionsFirst, CollisionsLast)
}

// parsePattern reads a pattern of paths in the image, with or without a slash in front.
func parsePattern(text string) (layer.Pattern, error) {
	if text == "." || text == "/" {
		return layer.Pattern{}, fmt.Errorf("pattern %q: the image's root is no entry of a layer", text)
	}
	return layer.ParsePattern(strings.TrimPrefix(text, "/"))
}

// AddExclude reads a pattern of what is left out.
func (o *Options) AddExclude(pattern string) error {
	p, err := parsePattern(pattern)
	o.Exclude = append(o.Exclude, p)
	return err
}

// AddRename reads a pattern and what becomes of what it matches: see [Rename].
func (o *Options) AddRename(pattern, to string) error {
	r, err := newRename(pattern, to)
	o.Rename = append(o.Rename, r)
	return err
}

// AddMode reads permissions, in octal, of what pattern matches.
func (o *Options) AddMode(pattern, mode string) error {
	p, err := parsePattern(pattern)
	if err != nil {
		return err
	}
	m, err := ParseMode(mode)
	o.Modes = append(o.Modes, layer.ModeRule{Pattern: p, Mode: m})
	return err
}

// AddOwner reads an owner, "UID:GID" or "UID:GID USER:GROUP", of what pattern matches.
func (o *Options) AddOwner(pattern, owner string) error {
	p, err := parsePattern(pattern)
	if err != nil {
		return err
	}
	of, err := ParseOwner(owner)
	if err == nil {
		o.Owners = append(o.Owners, OwnerRule{p, *of})
	}
	return err
}

// AddCapabilities reads capabilities, as "cap_net_raw=ep", of the files that pattern matches.
func (o *Options) AddCapabilities(pattern, capabilities string) error {
	p, err := parsePattern(pattern)
	if err != nil {
		return err
	}
	value, err := parseCapabilities(capabilities)
	o.Capabilities = append(o.Capabilities, CapabilityRule{p, value})
	return err
}

// isOverlayNote reports whether an extended attribute is a note of Linux' overlay file system (Documentation/filesystems/overlayfs.rst), as
// "trusted.overlay.opaque": a runtime that unpacks a layer right into an overlay's directory would change by it what is seen of lower layers.
func isOverlayNote(name string) bool {
	return strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.")
}

// maxXattr is the size that Linux allows an attribute's value.
const maxXattr = 64 << 10

// AddXattr reads an extended attribute, "NAME=VALUE", of what pattern matches. The value is text, or, as setfattr(1) has
// it, behind 0s in base64 or behind 0x in hex digits.
func (o *Options) AddXattr(pattern, text string) error {
	p, err := parsePattern(pattern)
	if err != nil {
		return err
	}
	name, value, ok := strings.Cut(text, "=")
	namespace, rest, dotted := strings.Cut(name, ".")
	if !ok || !dotted || rest == "" || len(name) > maxName || strings.ContainsAny(name, "\n\x00") ||
		!slices.Contains([]string{"user", "trusted", "security", "system"}, namespace) {
		return fmt.Errorf("%q: want NAME=VALUE, the name as in user.mime_type", text)
	}
	if isOverlayNote(name) {
		return fmt.Errorf("%q: overlay file systems keep notes in attributes of this name, by which they hide what is below", text)
	}
	if name == capabilityXattr {
		return fmt.Errorf("%q: want it among the capabilities, as \"cap_net_raw=ep\"", text)
	}
	var b []byte
	switch {
	case strings.HasPrefix(value, "0s"):
		b, err = base64.StdEncoding.DecodeString(value[2:])
	case strings.HasPrefix(value, "0x"):
		b, err = hex.DecodeString(value[2:])
	default:
		b = []byte(value)
	}
	if err != nil || len(b) > maxXattr {
		return fmt.Errorf("%.200q: want at most %d bytes: text, 0s and base64, or 0x and hex digits", text, maxXattr)
	}
	x := layer.Xattr{Name: name, Value: string(b)}
	if n := len(o.Xattrs); n > 0 && o.Xattrs[n-1].Pattern.String() == p.String() {
		o.Xattrs[n-1].Xattrs = append(o.Xattrs[n-1].Xattrs, x)
	} else {
		o.Xattrs = append(o.Xattrs, XattrRule{p, []layer.Xattr{x}})
	}
	return nil
}
