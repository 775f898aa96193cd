package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// maxGroups bounds the groups of a project file: no image has more layers.
const maxGroups = plan.MaxLayers

// readLayering reads how layers are planned:
//
//	"layering": {
//	  "max_layers": 64,
//	  "strategy": "fleet",
//	  "layer_cost": 0,
//	  "groups": [
//	    {"name": "libc", "packages": ["glibc*", "gcc"]},
//	    {"name": "python", "below": "python3", "split": true}
//	  ]
//	}
//
// Each field may be left out; docs/layering.md says what they do.
func (p *Project) readLayering(v *strictjson.Value) error {
	return v.Fields(
		strictjson.Field{Name: "max_layers", Optional: true, Read: func(v *strictjson.Value) error {
			n, err := v.Int()
			if err != nil {
				return err
			}
			p.MaxLayers = int(min(max(n, -1), plan.MaxLayers+1)) // fits an int of any size
			if plan.CheckMaxLayers(p.MaxLayers) != nil {
				return v.Errorf("%d: want 1 to %d", n, plan.MaxLayers)
			}
			return nil
		}},
		strictjson.Field{Name: "strategy", Optional: true, Read: strictjson.Parsed(&p.Strategy, parseStrategy)},
		strictjson.Field{Name: "layer_cost", Optional: true, Read: func(v *strictjson.Value) (err error) {
			if p.LayerCost, err = v.Int(); err == nil && checkLayerCost(p.LayerCost) != nil {
				err = v.Errorf("%w", checkLayerCost(p.LayerCost))
			}
			return err
		}},
		strictjson.Field{Name: "groups", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(p.readGroup)
		}},
	)
}

func (p *Project) readGroup(v *strictjson.Value) error {
	var g plan.Group
	err := v.Fields(
		strictjson.Field{Name: "name", Read: strictjson.StringInto(&g.Name)},
		strictjson.Field{Name: "packages", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(func(e *strictjson.Value) error {
				text, err := e.Text()
				g.Packages = append(g.Packages, text)
				return err
			})
		}},
		strictjson.Field{Name: "below", Optional: true, Read: strictjson.StringInto(&g.Below)},
		strictjson.Field{Name: "split", Optional: true, Read: func(v *strictjson.Value) (err error) {
			g.Split, err = v.Bool()
			return err
		}},
	)
	if err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		return v.Errorf("%w", err)
	}
	p.Groups = append(p.Groups, g)
	return nil
}

func parseStrategy(s string) (string, error) {
	if !slices.Contains(plan.Strategies(), s) {
		return "", fmt.Errorf("%q: want one of %s", s, strings.Join(plan.Strategies(), ", "))
	}
	return s, nil
}

// maxLayerCost bounds layer_cost, in bytes: more than what any network sends in the time of a request.
const maxLayerCost = 1 << 30

func checkLayerCost(n int64) error {
	if n < 0 || n > maxLayerCost {
		return fmt.Errorf("%d: want 0 to %d bytes", n, maxLayerCost)
	}
	return nil
}

// checkLayering is for projects that no file was read for.
func (p *Project) checkLayering() error {
	if err := plan.CheckMaxLayers(p.MaxLayers); err != nil {
		return err
	}
	if err := checkLayerCost(p.LayerCost); err != nil {
		return fmt.Errorf("layering: layer_cost: %w", err)
	}
	if p.Strategy != "" {
		if _, err := parseStrategy(p.Strategy); err != nil {
			return fmt.Errorf("layering: strategy: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, g := range p.Groups {
		if g.Name == "" || seen[g.Name] {
			return fmt.Errorf("layering: groups: %q: want a name for each group, each once", g.Name)
		}
		seen[g.Name] = true
		if err := g.Check(); err != nil {
			return fmt.Errorf("layering: groups: %s: %w", g.Name, err)
		}
	}
	if len(p.Groups) > maxGroups {
		return fmt.Errorf("layering: groups: want at most %d, found %d", maxGroups, len(p.Groups))
	}
	return nil
}
