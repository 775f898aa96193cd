package ondemand

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/channel"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/roots"
	"github.com/rules-strata/rules_strata/tool/serve"
	"github.com/rules-strata/rules_strata/tool/store"
)

// contents are what an image is of: its key is made of them.
type contents struct {
	System string
	// Roots are the store paths of the packages, in the order of their names; what the shell is of comes last.
	Roots []store.Path
	// Bash and Coreutils are those of them that the shell is of; empty without one.
	Bash, Coreutils store.Path
	// Certificates says that one of them has the certificates of authorities.
	Certificates bool
}

// resolution is what a name came to before: contents, or an error of the name.
type resolution struct {
	contents *contents
	err      error
}

// root is the project's root of that name on a system; nil if there is none. Names of images have no capital letters: case counts
// only where two names differ in nothing else.
func (s *Registry) root(name, system string) *project.Root {
	var found *project.Root
	for i := range s.o.Project.Roots {
		r := &s.o.Project.Roots[i]
		switch {
		case r.System != system:
		case r.Name == name:
			return r
		case strings.EqualFold(r.Name, name) && found == nil:
			found = r
		}
	}
	return found
}

// channel returns the name of the channel that a tag stands for; "" if the project has none.
func (s *Registry) channel(tag string) (string, error) {
	names := []string{}
	for _, c := range s.o.Project.Channels {
		if c.Name == tag {
			return tag, nil
		}
		names = append(names, c.Name)
	}
	if tag != serve.DefaultTag {
		known := strings.Join(append([]string{serve.DefaultTag}, names...), ", ")
		return "", serve.Errorf(serve.CodeManifestUnknown, "a tag is a channel, and there is none %s; there are %s", tag, known)
	}
	switch {
	case s.o.Channel != "":
		return s.o.Channel, nil
	case len(names) > 1:
		return "", serve.Errorf(serve.CodeManifestUnknown, "say by the tag which channel: one of %s", strings.Join(names, ", "))
	case len(names) == 1:
		return names[0], nil
	}
	return "", nil
}

// candidates are the project's roots, or packages of a channel, that a request may mean, each under a name of its own.
func (s *Registry) candidates(r *request, channelName string) (map[string]project.Root, error) {
	out := map[string]project.Root{}
	for _, i := range r.items {
		for _, name := range i.names {
			if root := s.root(name, r.system); root != nil {
				one := *root
				one.Name = name
				if one.Package != nil && one.Package.Channel == "" {
					one.Package = &project.Package{Query: one.Package.Query, Channel: channelName}
				}
				out[name] = one
				continue
			}
			if channelName == "" {
				if i.optional || len(i.names) > 1 && name != i.names[len(i.names)-1] {
					continue
				}
				return nil, s.unknown(name, errors.New("no root of the project file has this name, and it has no channel to look packages up in"))
			}
			q, err := channel.ParseFolded(name)
			if err != nil {
				return nil, s.unknown(name, err)
			}
			out[name] = project.Root{Name: name, System: r.system, Package: &project.Package{Query: q, Channel: channelName}}
		}
	}
	return out, nil
}

// resolve returns what the packages of a name are, and remembers it for as long as the channel's list is the same.
func (s *Registry) resolve(ctx context.Context, repository, tag string) (*contents, error) {
	r, err := s.parse(repository)
	if err != nil {
		return nil, err
	}
	channelName, err := s.channel(tag)
	if err != nil {
		return nil, err
	}
	candidates, err := s.candidates(r, channelName)
	if err != nil {
		return nil, err
	}
	local, id, err := s.localLists(ctx, candidates)
	if err != nil {
		return nil, err
	}
	key := strings.Join([]string{id, channelName, repository}, "\n")
	s.mu.Lock()
	known, ok := s.resolved[key]
	s.mu.Unlock()
	if ok {
		return known.contents, known.err
	}
	done, err := s.lookups.enter(ctx, serve.ClientOf(ctx))
	if err != nil {
		return nil, err
	}
	defer done()
	known.contents, known.err = s.lookUp(ctx, r, candidates, local)
	// What files of the project name may change at any time; and an error of the network is over soon.
	lasting := known.err == nil || serve.IsUnknown(known.err)
	for _, c := range candidates {
		lasting = lasting && c.File == nil
	}
	if lasting {
		s.mu.Lock()
		if len(s.resolved) >= maxResolved {
			clear(s.resolved)
		}
		s.resolved[key] = known
		s.mu.Unlock()
	}
	return known.contents, known.err
}

// maxResolved bounds what is remembered of names.
const maxResolved = 1 << 12

// localLists returns the project's channels with the lists as they are kept here, those that candidates want, and what tells
// these lists from later ones.
func (s *Registry) localLists(ctx context.Context, candidates map[string]project.Root) ([]project.Channel, string, error) {
	var out []project.Channel
	var ids []string
	for _, c := range s.o.Project.Channels {
		local := project.Channel{Name: c.Name, URLs: map[string]string{}}
		for _, r := range candidates {
			if r.Package == nil || r.Package.Channel != c.Name || local.URLs[r.System] != "" {
				continue
			}
			url, ok := c.URLs[r.System]
			if !ok {
				return nil, "", serve.Errorf(serve.CodeManifestUnknown, "channel %s has no list for %s", c.Name, r.System)
			}
			path, id, err := s.lists.get(ctx, url)
			if err != nil {
				return nil, "", err
			}
			local.URLs[r.System] = fetch.FileURL(path)
			ids = append(ids, id)
		}
		out = append(out, local)
	}
	return out, strings.Join(ids, " "), nil
}

// lookUp looks the candidates up, all at once, and again without those that aren't there and need not be.
func (s *Registry) lookUp(ctx context.Context, r *request, candidates map[string]project.Root, channels []project.Channel) (*contents, error) {
	p := *s.o.Project
	p.Channels = channels
	for {
		p.Roots = nil
		for _, c := range candidates {
			p.Roots = append(p.Roots, c)
		}
		slices.SortFunc(p.Roots, func(a, b project.Root) int { return cmp.Compare(a.Name, b.Name) })
		found, err := roots.Resolve(ctx, &p, roots.Options{Dir: s.o.Dir, Client: s.o.Client})
		if err == nil {
			return r.contents(found), nil
		}
		failed := map[string]error{}
		each(err, func(one error) {
			var of *roots.Error
			if errors.As(one, &of) && isOfName(of) {
				failed[of.Name] = of
			}
		})
		if len(failed) == 0 {
			return nil, err
		}
		for name := range failed {
			delete(candidates, name)
		}
		if err := s.missing(r, candidates, failed); err != nil {
			return nil, err
		}
	}
}

// each calls f for each of the errors that err joins.
func each(err error, f func(error)) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			each(one, f)
		}
		return
	}
	f(err)
}

// isOfName reports whether an error says that a name means nothing, or too much; others are of the network.
func isOfName(err *roots.Error) bool {
	return errors.As(err, new(*channel.NotFoundError)) || errors.As(err, new(*channel.AmbiguousError)) || errors.As(err, new(*roots.TwinsError))
}

// missing says which packages can't be done without; nil: none.
func (s *Registry) missing(r *request, candidates map[string]project.Root, failed map[string]error) error {
	var messages []string
	var detail []string
	for _, i := range r.items {
		there := slices.ContainsFunc(i.names, func(name string) bool { _, ok := candidates[name]; return ok })
		if there {
			continue
		}
		name := i.names[len(i.names)-1]
		if failed[name] == nil {
			continue
		}
		e := s.unknown(name, failed[name])
		if i.optional {
			s.o.Log("%s is left out: %s", name, e.Message)
			continue
		}
		messages = append(messages, e.Message)
		detail = append(detail, name)
	}
	if len(messages) == 0 {
		return nil
	}
	e := serve.Errorf(serve.CodeManifestUnknown, "%s", strings.Join(messages, "; "))
	e.Detail = map[string][]string{"packages": detail}
	return e
}

// unknown says of a package what is wrong with its name, and what to write.
func (s *Registry) unknown(name string, err error) *serve.Error {
	var of *roots.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	text := fmt.Sprintf("package %s: %v", name, err)
	var near *channel.NotFoundError
	var hint interface{ Hint() string }
	switch {
	case errors.As(err, &near) && len(near.Near) > 0:
		text += "; like this one are " + strings.Join(near.Near, ", ")
	case errors.As(err, &near) && len(near.Others) == 0:
	case errors.As(err, &hint) && hint.Hint() != "":
		text += "; " + hint.Hint()
	}
	return serve.Errorf(serve.CodeManifestUnknown, "%s", text)
}

// contents puts the store paths into the order that depends on nothing but which they are.
func (r *request) contents(found []roots.Root) *contents {
	paths := map[string]store.Path{}
	for _, f := range found {
		paths[f.Name] = f.Path
	}
	c := &contents{System: r.system}
	var shell []store.Path
	for _, i := range r.items {
		for _, name := range i.names {
			p, ok := paths[name]
			if !ok {
				continue
			}
			if i.shell {
				shell = append(shell, p)
			} else {
				c.Roots = append(c.Roots, p)
			}
			switch {
			case i.shell && i.names[len(i.names)-1] == "bash":
				c.Bash = p
			case i.shell && name == "coreutils":
				c.Coreutils = p
			case i.certificates:
				c.Certificates = true
			}
			break
		}
	}
	slices.SortFunc(c.Roots, func(a, b store.Path) int { return cmp.Or(cmp.Compare(a.Name(), b.Name()), cmp.Compare(a, b)) })
	c.Roots = append(c.Roots, shell...)
	seen := map[store.Path]bool{}
	c.Roots = slices.DeleteFunc(c.Roots, func(p store.Path) bool {
		twice := seen[p]
		seen[p] = true
		return twice
	})
	return c
}
