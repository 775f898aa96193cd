package filelayer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// Users are the users and groups of an image, beside root and nobody, which each has.
type Users struct {
	Users  []User
	Groups []Group
	// Shadow adds what programs want that change or check users (su, login, useradd): shadow, gshadow, login.defs and a
	// default for PAM. Nobody has a password.
	Shadow bool
}

// User is a user.
type User struct {
	Name string
	UID  uint32
	// GID is the user's group; nil: one of the user's own, with the user's name and number.
	GID *uint32
	// Groups are the names of further groups that the user is in.
	Groups []string
	// Home is the home directory; "": /home/NAME. It is made, but for /, /var/empty, /nonexistent and what is below /dev.
	Home string
	// Shell is the login shell; "": /bin/sh.
	Shell string
	// Comment is the GECOS field, as the user's whole name.
	Comment string
}

// Group is a group.
type Group struct {
	Name string
	GID  uint32
}

const (
	nobodyID = 65534
	// maxUserID is the greatest number of a user: 2^32-1 means none (passwd(5), chown(2)).
	maxUserID    = 1<<32 - 2
	maxUserName  = 32
	defaultShell = "/bin/sh"
)

// read reads an entry of type [TypeUsers].
func (u *Users) read(v *strictjson.Value, common []strictjson.Field) error {
	return v.Fields(append(
		common,
		strictjson.Field{Name: "users", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(func(v *strictjson.Value) error {
				var one User
				err := one.read(v)
				u.Users = append(u.Users, one)
				return err
			})
		}},
		strictjson.Field{Name: "groups", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(func(v *strictjson.Value) error {
				var one Group
				err := v.Fields(
					strictjson.Field{Name: "name", Read: text(func(t string) error { one.Name = t; return checkUserName(t) })},
					strictjson.Field{Name: "gid", Read: idInto(&one.GID)},
				)
				u.Groups = append(u.Groups, one)
				return err
			})
		}},
		strictjson.Field{Name: "shadow", Optional: true, Read: func(v *strictjson.Value) (err error) { u.Shadow, err = v.Bool(); return err }},
	)...)
}

func (u *User) read(v *strictjson.Value) error {
	absolute := func(p *string) func(*strictjson.Value) error {
		return text(func(t string) error {
			*p = t
			if _, err := CleanPath(t, true); err != nil || !strings.HasPrefix(t, "/") {
				return fmt.Errorf("%q: want an absolute path", t)
			}
			return checkField(t)
		})
	}
	return v.Fields(
		strictjson.Field{Name: "name", Read: text(func(t string) error { u.Name = t; return checkUserName(t) })},
		strictjson.Field{Name: "uid", Read: idInto(&u.UID)},
		strictjson.Field{Name: "gid", Optional: true, Read: func(v *strictjson.Value) error { u.GID = new(uint32); return idInto(u.GID)(v) }},
		strictjson.Field{Name: "groups", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(text(func(t string) error { u.Groups = append(u.Groups, t); return checkUserName(t) }))
		}},
		strictjson.Field{Name: "home", Optional: true, Read: absolute(&u.Home)},
		strictjson.Field{Name: "shell", Optional: true, Read: absolute(&u.Shell)},
		strictjson.Field{Name: "comment", Optional: true, Read: text(func(t string) error { u.Comment = t; return checkField(t) })},
	)
}

func idInto(p *uint32) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		n, err := v.Int()
		if err == nil && (n < 0 || n > maxUserID) {
			err = v.Errorf("%d: want a number from 0 to %d", n, int64(maxUserID))
		}
		*p = uint32(n)
		return err
	}
}

// checkUserName takes what useradd(8) takes, capitals and dots too.
func checkUserName(name string) error {
	for i, c := range []byte(name) {
		ok := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && (c == '-' || c == '.' || '0' <= c && c <= '9')
		if !ok {
			return fmt.Errorf("%q: want a name of letters, digits and _ . -, the first a letter or _", name)
		}
	}
	if name == "" || len(name) > maxUserName {
		return fmt.Errorf("%q: want a name of 1 to %d characters", name, maxUserName)
	}
	return nil
}

// checkField refuses what would begin another field or line of passwd(5).
func checkField(text string) error {
	if strings.ContainsAny(text, ":\n\r\x00") {
		return fmt.Errorf("%q: a colon or a line break can't be part of a field in /etc/passwd", text)
	}
	return nil
}

// homeless are homes that are not made.
func homeless(home string) bool {
	return home == "/" || home == "/var/empty" || home == "/nonexistent" || strings.HasPrefix(home, "/dev/")
}

// accounts are the users and groups with those that each image has, and with all defaults filled in.
func (u *Users) accounts() ([]User, []Group, error) {
	root := func() *uint32 { return new(uint32) }
	nobody := uint32(nobodyID)
	users := []User{
		{Name: "root", GID: root(), Home: "/root", Comment: "root"},
		{Name: "nobody", UID: nobodyID, GID: &nobody, Home: "/var/empty", Comment: "nobody"},
	}
	groups := []Group{{"root", 0}, {"nobody", nobodyID}}
	for _, one := range u.Users {
		if i := indexUser(users[:2], one.Name); i >= 0 { // Said otherwise, it is otherwise.
			if one.UID != users[i].UID {
				return nil, nil, fmt.Errorf("user %s: uid %d: want %d", one.Name, one.UID, users[i].UID)
			}
			users[i] = one
			continue
		}
		users = append(users, one)
	}
	groups = append(groups, u.Groups...)
	for i := range users {
		one := &users[i]
		if one.Home == "" {
			one.Home = "/home/" + one.Name
		}
		if one.Shell == "" {
			one.Shell = defaultShell
		}
		if one.GID == nil {
			gid := one.UID
			one.GID = &gid
			if !containsGroup(groups, Group{one.Name, gid}) {
				groups = append(groups, Group{one.Name, gid})
			}
		}
	}
	return users, groups, checkAccounts(users, groups)
}

func indexUser(users []User, name string) int {
	for i, u := range users {
		if u.Name == name {
			return i
		}
	}
	return -1
}

func containsGroup(groups []Group, g Group) bool {
	for _, other := range groups {
		if other == g {
			return true
		}
	}
	return false
}

func checkAccounts(users []User, groups []Group) error {
	// Users first: most groups are theirs, and a fault of a user's would show as one of a group that nobody has named.
	userNames, uids := map[string]bool{}, map[uint32]string{}
	for _, u := range users {
		if userNames[u.Name] {
			return fmt.Errorf("users: %q is there twice", u.Name)
		}
		if other, ok := uids[u.UID]; ok {
			return fmt.Errorf("users: uid %d is both %s's and %s's", u.UID, other, u.Name)
		}
		userNames[u.Name], uids[u.UID] = true, u.Name
	}
	names, ids := map[string]bool{}, map[uint32]string{}
	for _, g := range groups {
		if names[g.Name] {
			return fmt.Errorf("groups: %q is there twice; root, nobody and users without a gid have a group of their own", g.Name)
		}
		if other, ok := ids[g.GID]; ok {
			return fmt.Errorf("groups: gid %d is both %s's and %s's; users without a gid have a group of their own", g.GID, other, g.Name)
		}
		names[g.Name], ids[g.GID] = true, g.Name
	}
	for _, u := range users {
		if ids[*u.GID] == "" {
			return fmt.Errorf("user %s: gid %d is no group's; add one to groups, or leave gid out", u.Name, *u.GID)
		}
		for _, g := range u.Groups {
			if !names[g] {
				return fmt.Errorf("user %s: groups: there is no group %q", u.Name, g)
			}
		}
	}
	return nil
}

// nsswitchConf has glibc look into files before it asks the network. Without one it would ask no files for hosts.
const nsswitchConf = `passwd: files
group: files
shadow: files
hosts: files dns
networks: files
services: files
protocols: files
ethers: files
rpc: files
`

// pamOther is the default for programs that have no configuration of their own.
const pamOther = `account sufficient pam_unix.so
auth sufficient pam_rootok.so
password requisite pam_unix.so nullok yescrypt
session required pam_unix.so
`

// users adds /etc/passwd and what goes with it.
func (g *gatherer) users(e *Entry) error {
	if e.Users == nil {
		return errors.New("users are missing")
	}
	users, groups, err := e.Users.accounts()
	if err != nil {
		return err
	}
	var passwd, group, shadow, gshadow strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:%s\n", u.Name, u.UID, *u.GID, u.Comment, u.Home, u.Shell)
		fmt.Fprintf(&shadow, "%s:!:::::::\n", u.Name)
	}
	for _, gr := range groups {
		var members []string
		for _, u := range users {
			for _, name := range u.Groups {
				if name == gr.Name {
					members = append(members, u.Name)
				}
			}
		}
		fmt.Fprintf(&group, "%s:x:%d:%s\n", gr.Name, gr.GID, strings.Join(members, ","))
		fmt.Fprintf(&gshadow, "%s:!::%s\n", gr.Name, strings.Join(members, ","))
	}
	put := func(path string, mode uint16, text string) {
		g.add(&node{
			path: path, kind: layer.TypeRegular, mode: mode, contents: textContents(text), size: int64(len(text)),
			owner: &layer.Owner{UserName: "root", GroupName: "root"}, by: e.by(), from: e,
		})
	}
	put("etc/passwd", 0o644, passwd.String())
	put("etc/group", 0o644, group.String())
	put("etc/nsswitch.conf", 0o644, nsswitchConf)
	if e.Users.Shadow {
		put("etc/shadow", 0o600, shadow.String())
		put("etc/gshadow", 0o600, gshadow.String())
		put("etc/login.defs", 0o644, "")
		put("etc/pam.d/other", 0o644, pamOther)
	}
	directory := func(path string, mode uint16, owner layer.Owner) {
		g.add(&node{path: path, kind: layer.TypeDirectory, mode: mode, owner: &owner, rank: rankNamed, by: e.by(), from: e})
	}
	homes := map[string]bool{}
	for _, u := range users {
		home, err := CleanPath(u.Home, true)
		if err != nil {
			return fmt.Errorf("user %s: home: %w", u.Name, err)
		}
		if u.Home == "/var/empty" && !homes[home] {
			directory(home, 0o555, layer.Owner{UserName: "root", GroupName: "root"})
		} else if !homeless("/"+home) && !homes[home] {
			mode := uint16(modeDirectory)
			if u.UID == 0 {
				mode = 0o700
			}
			directory(home, mode, layer.Owner{UID: u.UID, GID: *u.GID, UserName: shortName(u.Name), GroupName: shortName(groupName(groups, *u.GID))})
		}
		homes[home] = true
	}
	return nil
}

func groupName(groups []Group, gid uint32) string {
	for _, g := range groups {
		if g.GID == gid {
			return g.Name
		}
	}
	return ""
}

// shortName is what a tar's header has room for.
func shortName(name string) string {
	if len(name) > 31 {
		return ""
	}
	return name
}

// The bundle of CA certificates: where nixpkgs, Debian and Guix have it in a store path, and where programs look for it.
var (
	bundleSources = []string{
		"etc/ssl/certs/ca-bundle.crt",
		"etc/ssl/certs/ca-certificates.crt",
		"etc/pki/tls/certs/ca-bundle.crt",
	}
	bundlePlaces = []string{
		"etc/ssl/certs/ca-bundle.crt",
		"etc/ssl/certs/ca-certificates.crt",
		"etc/pki/tls/certs/ca-bundle.crt",
	}
)

// certificates links the bundle to where programs look for it.
func (g *gatherer) certificates(e *Entry) error {
	root := g.roots[e.Root]
	source := ""
	if root.kind == nar.Directory {
		for _, s := range bundleSources {
			if root.has(s) {
				source = s
				break
			}
		}
		if source == "" {
			return fmt.Errorf("%s has none of %s", e.Root, strings.Join(bundleSources, ", "))
		}
	}
	for _, p := range bundlePlaces {
		g.link(e, p, source)
	}
	return nil
}

// Where time zones are in a store path, and where programs look for them: all, and nixpkgs' glibc.
const zoneSource = "share/zoneinfo"

var zonePlaces = []string{"usr/share/zoneinfo", "etc/zoneinfo"}

// timeZones links the time zones to where programs look for them, and says which is the image's.
func (g *gatherer) timeZones(e *Entry) error {
	root := g.roots[e.Root]
	if !root.has(zoneSource) {
		return fmt.Errorf("%s has no %s", e.Root, zoneSource)
	}
	for _, p := range zonePlaces {
		g.link(e, p, zoneSource)
	}
	if e.Zone == "" {
		return nil
	}
	if !root.has(zoneSource + "/" + e.Zone) {
		return fmt.Errorf("zone: %s has no time zone %q", e.Root, e.Zone)
	}
	g.link(e, "etc/localtime", zoneSource+"/"+e.Zone)
	zone := e.Zone + "\n"
	g.add(&node{path: "etc/timezone", kind: layer.TypeRegular, mode: modeFile, contents: textContents(zone), size: int64(len(zone)), by: e.by(), from: e})
	return nil
}

// checkZone refuses what is no name of the time zone database.
func checkZone(zone string) error {
	if p, err := CleanPath(zone, false); err != nil || p != zone || strings.ContainsAny(zone, "\n\r ") {
		return errors.New(strconv.Quote(zone) + `: want a time zone, as "Europe/Berlin"`)
	}
	return nil
}
