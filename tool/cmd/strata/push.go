package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/registry"
	"github.com/rules-strata/rules_strata/tool/remotecache"
)

// remoteCacheVariable is the environment variable that names remote caches beside --remote-cache.
const remoteCacheVariable = "STRATA_REMOTE_CACHE"

type pushFlags struct {
	registryFlags
	image      string
	registry   string
	repository string
	tags       []string
	tagFiles   []string
	from       []string
	caches     []string
	instance   string
	headers    []string
	locks      []string
	chunk      int64
	recheck    bool
}

func newPushCommand() *cobra.Command {
	var f pushFlags
	c := &cobra.Command{
		Use:   "push IMAGE [[REGISTRY/]REPOSITORY[:TAG]]",
		Short: "Send an image to a registry, as far as it lacks it",
		Long: `Makes a repository hold an image, or an index with its images, and has tags name it.
IMAGE is an OCI image layout or an archive (docker's, OCI's, or what strata build writes); a target of
Bazel's that was built (//app:image); an image in a registry, which is copied; or what the rule image_push writes for ` + "`bazel run`" + `.

The registry is asked before anything is sent. What it has costs one request; what another of its
repositories has is mounted (--from). Only what it lacks is opened: in IMAGE itself, in a
cache of Bazel's (--remote-cache), in another registry (--from), or else made
out of the NARs that a lock names (--lock). A transfer that breaks goes on where it broke,
as far as the registry lets it. The manifest goes last, and the tags behind it; all is read back.

Credentials are those of docker login (config.json and its helpers), podman login
($REGISTRY_AUTH_FILE, auth.json), and ~/.netrc. Plain HTTP is spoken with loopback addresses, and with
whom --insecure names.

The references are printed to standard output, the one with the digest first.`,
		Example: `  strata push web.tar registry.example.org/team/web:1.0
  strata push web.oci registry.example.org/team/web --tag 1.0 --tag latest
  strata push registry.example.org/team/web:1.0 mirror.example.org/web:1.0
  bazel run //app:push -- --repository team/staging --tag $USER
  bazel run //app:push -- --remote-cache grpcs://cache.example.org --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("want an image and at most one reference, found %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.image, "image", "", "which image of a layout with several, by `NAME` or digest")
	fl.StringVar(&f.registry, "registry", "", "the registry's `HOST[:PORT]`, in place of the one said otherwise")
	fl.StringVar(&f.repository, "repository", "", "the repository's `NAME` in the registry, in place of the one said otherwise")
	fl.StringArrayVarP(&f.tags, "tag", "t", nil, "a `TAG` for the image; repeatable, in place of those that the rule says")
	fl.StringArrayVar(&f.tagFiles, "tag-file", nil, "a `FILE` of tags, one a line; repeatable, likewise")
	fl.StringArrayVar(&f.from, "from", nil, "a `[REGISTRY/]REPOSITORY` that may have blobs: of the same registry they are mounted, of others copied; repeatable")
	fl.StringArrayVar(&f.caches, "remote-cache", nil, "an `ADDRESS` of a cache that may have blobs, as Bazel's --remote_cache or, a folder, --disk_cache; repeatable (before $"+remoteCacheVariable+")")
	fl.StringVar(&f.instance, "remote-instance-name", "", "the `NAME` of the remote cache's instance, as Bazel's flag of that name")
	fl.StringArrayVar(&f.headers, "remote-header", nil, "a header `NAME=VALUE` for the remote caches, as Bazel's --remote_header; repeatable")
	fl.StringArrayVar(&f.locks, "lock", nil, "a lock `FILE` out of whose NARs missing layers are made; repeatable")
	fl.Int64Var(&f.chunk, "chunk-size", 0, "the most `BYTES` of a blob in one request (default: all, or what the registry takes)")
	fl.BoolVar(&f.recheck, "recheck", false, "ask for each blob, though the registry has the manifest: it may have lost some")
	f.registryFlags.register(fl)
	return c
}

// pushSource is what is pushed, wherever it was read.
type pushSource struct {
	content *registry.Content
	sources []registry.Source
	from    []string
	// target is what a rule says of where it goes.
	target pushTarget
	// layers are digest files of its layers, if there are any.
	layers []*digestfile.File
	close  func()
}

// pushTarget is where an image goes, by names that aren't checked yet.
type pushTarget struct {
	registry, repository string
	tags                 []string
	caches               []string
}

func (f *pushFlags) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	if f.chunk < 0 {
		return usagef("--chunk-size: want 0 or more, found %d", f.chunk)
	}
	credentials, err := fetch.NewCredentials(f.network.helpers...)
	if err != nil {
		return err
	}
	t := newTransfer(newConsole(cmd))
	client, err := f.client(credentials, t, f.chunk)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	src, err := f.source(cmd, client, args[0])
	if err != nil {
		return ended(ctx, t, err)
	}
	defer src.close()

	push := registry.Push{Content: src.content, Sources: src.sources, Recheck: f.recheck}
	if push.Repository, push.Tags, err = f.target(client, src, args[1:]); err != nil {
		return err
	}
	if err := f.addSources(&push, client, credentials, src); err != nil {
		return err
	}
	if len(f.locks) > 0 {
		r, err := f.newRemaker(src.layers)
		if err != nil {
			return err
		}
		defer r.close()
		push.Sources = append(push.Sources, r)
	}

	result, err := client.Push(ctx, push)
	if err != nil {
		return ended(ctx, t, advisePush(err))
	}
	requests, _, _ := client.Traffic()
	all := tallies(result.Blobs)
	t.end("pushed in %s: %v sent, %v there, %v mounted, %d requests",
		t.elapsed(), of(all, registry.Sent), of(all, registry.There), of(all, registry.Mounted), requests)
	whole := familiarName(push.Repository) + "@" + result.Digest.String()
	references := []string{}
	for _, tag := range push.Tags {
		references = append(references, familiarName(push.Repository.Tag(tag)))
	}
	if f.json {
		return writeJSON(cmd.OutOrStdout(), pushJSON{
			Reference: whole, Digest: result.Digest.String(), Tags: references,
			Sent: of(all, registry.Sent), There: of(all, registry.There), Mounted: of(all, registry.Mounted), Requests: requests,
		})
	}
	return printLines(cmd.OutOrStdout(), append([]string{whole}, references...))
}

// pushJSON is what --json prints.
type pushJSON struct {
	Reference string   `json:"reference"`
	Digest    string   `json:"digest"`
	Tags      []string `json:"tags"`
	Sent      tally    `json:"sent"`
	There     tally    `json:"there"`
	Mounted   tally    `json:"mounted"`
	Requests  int64    `json:"requests"`
}

// source reads what IMAGE is, but no layer: those of an image in a registry are taken from there, or mounted.
func (f *pushFlags) source(cmd *cobra.Command, client *registry.Client, arg string) (*pushSource, error) {
	if !isReference(arg) {
		path, err := imagePath(cmd, arg)
		if err != nil {
			return nil, err
		}
		return f.open(path)
	}
	ref, err := client.Reference(arg)
	if err != nil {
		return nil, &usageError{err}
	}
	dir, err := os.MkdirTemp("", "strata-push-*")
	if err != nil {
		return nil, err
	}
	layout := filepath.Join(dir, "image")
	var s *pushSource
	if _, err = client.Pull(cmd.Context(), registry.Pull{Reference: ref, Shallow: true, Dir: layout}); err != nil {
		err = adviseReference(arg, err)
	} else {
		s, err = f.open(layout)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	opened := s.close
	s.close = func() { opened(); os.RemoveAll(dir) }
	return s, nil
}

// open reads what IMAGE is, but no blob.
func (f *pushFlags) open(image string) (*pushSource, error) {
	if strings.HasSuffix(image, pushDescriptionSuffix) {
		return readPushDescription(image)
	}
	l, err := imagefile.Open(image)
	if errors.Is(err, fs.ErrNotExist) {
		err = &hinted{err, "an image is made by strata build, or by `bazel run` of an image_push target, which pushes it as well"}
	}
	if err != nil {
		return nil, err
	}
	s := &pushSource{sources: []registry.Source{l}, close: func() { l.Close() }}
	root, err := l.Root(f.image)
	if err == nil {
		s.content, err = registry.ReadContent(root, l.Manifest)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	s.from = l.Origins() // It was pulled, and may be shallow.
	return s, nil
}

// target is where the image goes: the command line over what the rule says.
func (f *pushFlags) target(c *registry.Client, s *pushSource, args []string) (repo name.Repository, tags []string, err error) {
	to := s.target
	given := slices.Clone(f.tags)
	for _, file := range f.tagFiles {
		lines, err := readTags(file)
		if err != nil {
			return repo, nil, err
		}
		given = append(given, lines...)
	}
	if len(args) > 0 {
		if strings.Contains(args[0], "@") {
			return repo, nil, usagef("%s: an image has the digest that it has; want [REGISTRY/]REPOSITORY[:TAG]", args[0])
		}
		ref, err := c.Reference(args[0])
		if err != nil {
			return repo, nil, &usageError{err}
		}
		to.registry, to.repository = ref.Context().RegistryStr(), ref.Context().RepositoryStr()
		if strings.HasSuffix(args[0], ":"+ref.Identifier()) {
			given = append([]string{ref.Identifier()}, given...)
		}
	}
	to.registry, to.repository = cmp.Or(f.registry, to.registry), cmp.Or(f.repository, to.repository)
	if to.repository == "" {
		return repo, nil, usagef("where to? Name a repository: strata push IMAGE REGISTRY/REPOSITORY:TAG, or by --registry and --repository")
	}
	whole := to.repository
	if to.registry != "" {
		whole = to.registry + "/" + to.repository
	}
	if repo, err = c.Repository(whole); err != nil {
		return repo, nil, &usageError{err}
	}
	if len(given) == 0 {
		given = to.tags
	}
	for _, tag := range given {
		if _, err := name.NewTag(repo.String()+":"+tag, name.StrictValidation); err != nil {
			return repo, nil, usagef("tag %q: want letters, digits, _, and after the first also . and -, 128 at most", tag)
		}
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return repo, tags, nil
}

// readTags reads a file of tags, one a line; empty lines don't count.
func readTags(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var tags []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			tags = append(tags, line)
		}
	}
	if len(tags) == 0 {
		return nil, fmt.Errorf("%s: want tags, one a line; it is empty", path)
	}
	return tags, nil
}

// addSources adds the places beside the image itself where blobs may be.
func (f *pushFlags) addSources(p *registry.Push, c *registry.Client, credentials *fetch.Credentials, s *pushSource) error {
	header := http.Header{}
	for _, h := range f.headers {
		key, value, ok := strings.Cut(h, "=")
		if !ok || key == "" {
			return usagef("--remote-header: want NAME=VALUE") // What was found may be a secret.
		}
		header.Add(key, value)
	}
	caches := slices.Concat(f.caches, strings.Fields(os.Getenv(remoteCacheVariable)), s.target.caches)
	for _, address := range caches {
		cache, err := remotecache.Open(address, remotecache.Options{Instance: f.instance, Header: header, Credentials: credentials, UserAgent: userAgent()})
		if err != nil {
			return err
		}
		p.Sources = append(p.Sources, cache)
	}
	for _, from := range slices.Concat(f.from, s.from) {
		if host, _, ok := strings.Cut(from, "/"); !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
			from = p.Repository.RegistryStr() + "/" + from
		}
		repo, err := c.Repository(from)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		switch {
		case repo.String() == p.Repository.String():
		case repo.RegistryStr() == p.Repository.RegistryStr():
			p.From = append(p.From, repo)
			fallthrough // It may refuse to mount.
		default:
			p.Sources = append(p.Sources, c.In(repo))
		}
	}
	return nil
}

// advisePush adds what may help against an error of a push.
func advisePush(err error) error {
	var no *registry.NoBlobError
	if errors.As(err, &no) && errors.Is(no, fs.ErrNotExist) {
		return &hinted{err, "name the cache that Bazel has it in (--remote-cache, $" + remoteCacheVariable + "), a repository (--from), or the lock to make it from (--lock); " +
			"or have Bazel fetch it: bazel build --remote_download_all"}
	}
	return err
}
