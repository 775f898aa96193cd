package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
)

type planFlags struct {
	lock     string
	project  string
	against  string
	strategy string
	fresh    bool
	protocol string
	json     bool
}

func newPlanCommand() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show how the lock's store paths are grouped into layers",
		Long: `Shows the layers that strata.lock.json plans: what is in each and why, how large
it is, which images share it, and how likely an update is to change it. For each
image it says what is sent when only the root becomes another one.

With --against it says what the update from an older lock sends, layer by layer,
to who has all layers of that one, and what the other strategies would have
sent. With --fresh it plans anew, as if there had been no plan before, and says
what that would send now and spare later. It writes no lock.

How --fresh plans, and which layers are there for a group of yours, the project
file says (layering): that beside the lock, or --project; where there is none, it
is as strata.json says by default.

Sizes are those of NARs: unpacked bytes.`,
		Example: `  strata plan
  strata plan --json | jq '.layers[0]'
  git show HEAD:strata.lock.json | strata plan --against /dev/stdin
  strata plan --fresh
  simulate.py train.json --command 'strata plan --protocol layering-trace/1'`,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := c.Flags()
	fl.StringVar(&f.lock, "lock", lock.DefaultFile, "the lock `FILE`")
	fl.StringVar(&f.project, "project", "", "the project `FILE` that says how to plan (default: "+project.DefaultFile+" beside the lock, if it is there)")
	fl.StringVar(&f.against, "against", "", "an older lock `FILE`, to say what the update from it sends")
	fl.BoolVar(&f.fresh, "fresh", false, "plan anew, without the plan that the lock has")
	fl.StringVar(&f.strategy, "strategy", "", "with --fresh or --protocol, the `STRATEGY`: "+strings.Join(plan.Strategies(), ", "))
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.StringVar(&f.protocol, "protocol", "", "answer one request of a simulator on standard input, by the protocol `NAME`: "+planProtocol)
	return c
}

// planJSON is what --json writes.
type planJSON struct {
	*plan.Report
	Against *againstJSON `json:"against,omitempty"`
	Fresh   *freshJSON   `json:"fresh,omitempty"`
}

type freshJSON struct {
	plan.Move
	// LockUpdateBytes is what update_bytes is by the lock's plan.
	LockUpdateBytes int64 `json:"lock_update_bytes"`
}

type againstJSON struct {
	plan.Move
	// Others is what the other strategies would have sent, in bytes, each without a plan before, with the same
	// limit and groups.
	Others map[string]int64 `json:"others"`
}

func (f *planFlags) run(cmd *cobra.Command) error {
	if f.strategy != "" && !slices.Contains(plan.Strategies(), f.strategy) {
		return usagef("--strategy: want one of %s, found %q", strings.Join(plan.Strategies(), ", "), f.strategy)
	}
	if f.protocol != "" {
		if f.protocol != planProtocol {
			return usagef("--protocol: want %s, found %q", planProtocol, f.protocol)
		}
		return answerPlan(cmd.InOrStdin(), cmd.OutOrStdout(), f.strategy)
	}
	if f.strategy != "" && !f.fresh {
		return usagef("--strategy: want --fresh or --protocol with it; for the lock it is in strata.json (layering.strategy)")
	}
	l, err := readLock(f.lock)
	if err != nil {
		return err
	}
	images := l.PlanImages()
	out := planJSON{}
	shown, before := l.Plan, (*plan.Plan)(nil)
	options, err := f.options(l)
	if err != nil {
		return err
	}
	if f.fresh {
		if shown, err = plan.Make(images, options); err != nil {
			return err
		}
		shown.History = l.Plan.History // Both are judged by what is known of change.
		is, err := plan.Explain(l.Plan, images, nil, nil)
		if err != nil {
			return err
		}
		out.Fresh = &freshJSON{plan.Moves(l.Plan, shown, images), is.UpdateBytes}
	}
	if f.against != "" {
		old, err := readLock(f.against)
		if err != nil {
			return err
		}
		before = old.Plan
		out.Against = &againstJSON{Move: plan.Moves(old.Plan, shown, images), Others: map[string]int64{}}
		for _, s := range plan.Strategies() {
			o := options
			o.Strategy, o.MaxLayers = s, shown.MaxLayers
			was, err := plan.Make(old.PlanImages(), o)
			if err != nil {
				continue // one-per-path of more paths than layers, groups of other roots
			}
			is, err := plan.Make(images, o)
			if err != nil {
				continue
			}
			out.Against.Others[s] = plan.Moves(was, is, images).NarBytes
		}
	}
	if out.Report, err = plan.Explain(shown, images, before, options.Groups); err != nil {
		return err
	}
	if f.json {
		return writeJSON(cmd.OutOrStdout(), out)
	}
	return out.write(cmd.OutOrStdout())
}

// options are what to plan by, without a past.
func (f *planFlags) options(l *lock.Lock) (plan.Options, error) {
	o := plan.Options{MaxLayers: l.Plan.MaxLayers}
	p, err := project.Read(cmp.Or(f.project, filepath.Join(filepath.Dir(f.lock), project.DefaultFile)))
	switch {
	case f.project == "" && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return o, err
	default:
		o = plan.Options{Strategy: p.Strategy, MaxLayers: p.MaxLayers, LayerCost: p.LayerCost, Groups: p.Groups}
	}
	o.Strategy = cmp.Or(f.strategy, o.Strategy)
	return o, nil
}

func readLock(path string) (*lock.Lock, error) {
	l, err := lock.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = &hinted{err, "make it by strata lock, or name it by --lock"}
	}
	return l, err
}

// shownPaths is how many paths of a layer are named.
const shownPaths = 4

func (p *planJSON) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s, at most %d in an image\n", count(len(p.Layers), "layer"), p.Strategy, p.MaxLayers)
	fmt.Fprintf(&b, "\n%12s %7s  %s\n", "NAR bytes", "change", "layer")
	for _, l := range p.Layers {
		fmt.Fprintf(&b, "%12d %6.1f%%  %s\n", l.NarBytes, 100*l.Chance, l.Name)
		var names []string
		for _, path := range l.Paths[:min(len(l.Paths), shownPaths)] {
			names = append(names, path.Name())
		}
		if more := len(l.Paths) - shownPaths; more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		fmt.Fprintf(&b, "%22s %s; in %s; %s\n", "", strings.Join(names, ", "), strings.Join(l.Images, ", "), l.Why)
	}
	fmt.Fprintf(&b, "\n%12s %7s %12s %12s  %s\n", "NAR bytes", "layers", "root moves", "its own", "image")
	for _, i := range p.Images {
		fmt.Fprintf(&b, "%12d %7d %12d %12d  %s\n", i.NarBytes, i.Layers, i.RootMoves, i.RootBytes, i.Image)
	}
	if a := p.Against; a != nil {
		fmt.Fprintf(&b, "\nThe update sends %d bytes in %s; %d of them are new.\n", a.NarBytes, count(len(a.Layers), "layer"), a.NewBytes)
		size := map[string]int64{}
		for _, l := range p.Layers {
			size[l.Name] = l.NarBytes
		}
		for _, l := range a.Layers {
			fmt.Fprintf(&b, "%12d  %s\n", size[l], l)
		}
		b.WriteString("Other strategies, without a plan before:\n")
		names := slices.SortedFunc(maps.Keys(a.Others), func(x, y string) int {
			return cmp.Or(cmp.Compare(a.Others[x], a.Others[y]), cmp.Compare(x, y))
		})
		for _, s := range names {
			fmt.Fprintf(&b, "%12d  %s\n", a.Others[s], s)
		}
	}
	fmt.Fprintf(&b, "\nBy the model, an update sends %d bytes on average", p.UpdateBytes)
	if p.Fresh == nil {
		b.WriteString(".\n")
	} else {
		fmt.Fprintf(&b, ", and %d by the lock's plan.\n", p.Fresh.LockUpdateBytes)
		fmt.Fprintf(&b, "This is a plan made anew. To take it would send %d bytes in %s to who has the lock's.\n", p.Fresh.NarBytes, count(len(p.Fresh.Layers), "layer"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
