package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// planProtocol is the name of the protocol by which a simulator of updates asks for
// plans: one JSON document in, one out, for each step of the history.
const planProtocol = "layering-trace/1"

// maxPlanRequest bounds a request, in bytes: that of 100 images over 20,000 paths has some 300 MB.
const maxPlanRequest = 1 << 30

type (
	planRequest struct {
		MaxLayers int `json:"max_layers"`
		Images    []struct {
			Name  string   `json:"name"`
			Roots []string `json:"roots"`
			Paths []struct {
				ID   string   `json:"id"` // <hash>-<name>-<version>
				Name string   `json:"name"`
				Size int64    `json:"size"`
				Refs []string `json:"refs"`
			} `json:"paths"`
		} `json:"images"`
		Popularity map[string]int64 `json:"popularity"`
		Previous   *planMemory      `json:"previous_lock"` // what the answer before said
	}
	planAnswer struct {
		Layers map[string][][]string `json:"layers"`
		Lock   *planMemory           `json:"lock"`
	}
	planMemory struct {
		Layers  map[string][]string `json:"layers"`
		Images  map[string][]string `json:"images"` // the layers' names
		Paths   map[string]string   `json:"paths"`  // the package's name by ID
		Updates int                 `json:"updates"`
		// Packages are [updates since, changes].
		Packages map[string][2]int `json:"packages"`
	}
)

// answerPlan reads a request and writes the answer.
func answerPlan(in io.Reader, out io.Writer, strategy string) error {
	var q planRequest
	d := json.NewDecoder(io.LimitReader(in, maxPlanRequest))
	if err := d.Decode(&q); err != nil {
		return fmt.Errorf("the request: want one JSON document of %s: %w", planProtocol, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the request: want one JSON document of %s: there is more behind it", planProtocol)
	}
	o := plan.Options{Strategy: strategy, MaxLayers: q.MaxLayers, Popularity: q.Popularity, Previous: q.Previous.previous()}
	if err := plan.CheckMaxLayers(q.MaxLayers); err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	var images []plan.Image
	packages := map[string]string{}
	for _, i := range q.Images {
		image := plan.Image{Root: i.Name, Roots: tracePaths(i.Roots)}
		for _, p := range i.Paths {
			path := tracePath(p.ID, p.Name)
			path.NarSize, path.References = p.Size, tracePaths(p.Refs)
			image.Closure = append(image.Closure, path)
			packages[p.ID] = p.Name
		}
		images = append(images, image)
	}
	made, err := plan.Make(images, o)
	if err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	answer := planAnswer{Layers: map[string][][]string{}}
	for _, i := range q.Images {
		answer.Layers[i.Name] = [][]string{}
		for _, name := range made.Images[i.Name][""] {
			answer.Layers[i.Name] = append(answer.Layers[i.Name], traceIDs(made.Layers[name]))
		}
	}
	if h := made.History; h != nil {
		m := &planMemory{Layers: map[string][]string{}, Images: map[string][]string{}, Paths: packages, Updates: h.Updates, Packages: map[string][2]int{}}
		for name, paths := range made.Layers {
			m.Layers[name] = traceIDs(paths)
		}
		for root, bySystem := range made.Images {
			m.Images[root] = bySystem[""]
		}
		for name, p := range h.Packages {
			m.Packages[name] = [2]int{p.Since, p.Changes}
		}
		answer.Lock = m
	}
	return json.NewEncoder(out).Encode(answer)
}

func (m *planMemory) previous() *plan.Previous {
	if m == nil {
		return nil
	}
	p := &plan.Previous{Plan: plan.Plan{
		Layers:  map[string][]store.Path{},
		Images:  map[string]map[string][]string{},
		History: &plan.History{Updates: m.Updates, Packages: map[string]plan.PackageHistory{}},
	}}
	for name, ids := range m.Layers {
		p.Plan.Layers[name] = tracePaths(ids)
	}
	for name, layers := range m.Images {
		p.Plan.Images[name] = map[string][]string{"": layers}
	}
	for id, name := range m.Paths {
		p.Paths = append(p.Paths, tracePath(id, name))
	}
	for name, k := range m.Packages {
		p.Plan.History.Packages[name] = plan.PackageHistory{Since: k[0], Changes: k[1]}
	}
	return p
}

// traceDir is where the paths of a trace are; they say no directory.
const traceDir = "/nix/store/"

func tracePath(id, name string) plan.Path {
	_, rest, _ := strings.Cut(id, "-")
	return plan.Path{Path: store.Path(traceDir + id), Package: name, Version: strings.TrimPrefix(strings.TrimPrefix(rest, name), "-")}
}

func tracePaths(ids []string) []store.Path {
	out := make([]store.Path, len(ids))
	for i, id := range ids {
		out[i] = store.Path(traceDir + id)
	}
	return out
}

func traceIDs(paths []store.Path) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = strings.TrimPrefix(string(p), traceDir)
	}
	return out
}
