package layer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Set sets the option that name stands for, as the flags of the layer tool and of strata build spell it and its value:
//
//	compression            one of [Compressions]
//	level                  a level of the compression; [CheckLevel] knows which there are
//	workers                the most cores to use, 1 or more
//	allow-whiteout-names   true or false
//	owner                  UID:GID
//	owner-names            USER:GROUP; they are of use with owner alone
//	mtime                  seconds since 1970
//	strip-prefix           a directory of the store path, or .
//	exclude                a pattern, each time one more
//	mode                   OCTAL:PATTERN, each time one more
//
// It is false for other names. The error does not say the name.
func (o *Options) Set(name, value string) (known bool, err error) {
	switch name {
	case "compression":
		o.Compression = value
		if !slices.Contains(Compressions(), value) {
			err = fmt.Errorf("%q: want one of %s", value, strings.Join(Compressions(), ", "))
		}
	case "level":
		o.Level = value // Which there are depends on the compression.
		if value == "" {
			err = errors.New("its value is empty")
		}
	case "workers":
		if o.Workers, err = strconv.Atoi(value); err != nil || o.Workers < 1 {
			err = fmt.Errorf("%q: want a number of 1 or more", value)
		}
	case "allow-whiteout-names":
		if o.AllowWhiteoutNames, err = strconv.ParseBool(value); err != nil {
			err = fmt.Errorf("%q: want true or false", value)
		}
	case "owner":
		uid, gid, ok := strings.Cut(value, ":")
		u, err1 := strconv.ParseUint(uid, 10, 32)
		g, err2 := strconv.ParseUint(gid, 10, 32)
		if !ok || err1 != nil || err2 != nil {
			err = fmt.Errorf("%q: want UID:GID, two numbers below 2^32", value)
		}
		owner := o.owner()
		owner.UID, owner.GID = uint32(u), uint32(g)
	case "owner-names":
		user, group, ok := strings.Cut(value, ":")
		owner := o.owner()
		owner.UserName, owner.GroupName = user, group
		if err = owner.check(); err == nil && !ok {
			err = fmt.Errorf("%q: want USER:GROUP", value)
		}
	case "mtime":
		var t int64
		if t, err = strconv.ParseInt(value, 10, 64); err != nil {
			err = fmt.Errorf("%q: want a number of seconds", value)
		} else {
			err = checkMtime(t)
		}
		o.MtimeUnix = &t
	case "strip-prefix":
		o.StripPrefix = value
		if value == "" {
			err = errors.New("its value is empty; . is the store path itself")
		} else {
			err = checkStripPrefix(value)
		}
	case "exclude":
		var p Pattern
		if p, err = ParsePattern(value); err == nil {
			err = checkExclude(p)
		}
		o.Exclude = append(o.Exclude, p)
	case "mode":
		var m ModeRule
		m, err = parseModeRule(value)
		o.Modes = append(o.Modes, m)
	default:
		return false, nil
	}
	return true, err
}

// Setter sets the option of a name that [Options.Set] knows.
func (o *Options) Setter(name string) func(value string) error {
	return func(value string) error {
		_, err := o.Set(name, value)
		return err
	}
}

// owner is the owner to be filled in.
func (o *Options) owner() *Owner {
	if o.Owner == nil {
		o.Owner = new(Owner)
	}
	return o.Owner
}

func parseModeRule(s string) (ModeRule, error) {
	octal, text, ok := strings.Cut(s, ":")
	mode, err := strconv.ParseUint(octal, 8, 12)
	if !ok || err != nil {
		return ModeRule{}, fmt.Errorf("%q: want OCTAL:PATTERN, permissions of at most 7777", s)
	}
	p, err := ParsePattern(text)
	return ModeRule{Pattern: p, Mode: uint16(mode)}, err
}
