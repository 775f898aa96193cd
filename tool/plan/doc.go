// Package plan decides how the store paths of images are grouped into layers.
// It is pure: the same images and the same past give the same plan on every machine, whatever
// the order they are given in. No clock, no files, no map order, and no floating-point
// operation that one processor rounds otherwise than another.
//
// What a plan costs shows later, when the images change: a layer is sent again
// whole as soon as one path in it is another one, and in a store a path is
// another one as soon as anything in its closure is. [Make] plans all images of a lock at
// once, by one of the [Strategies]; the first, [Fleet], knows the plan before and what
// has changed since, and docs/layering.md says what it reckons with and what that brings.
//
//	plan.go             what plans are made of and checked for
//	graph.go            the images as numbers: paths, closures, who shares what
//	fleet.go            the strategy fleet; cost.go what it holds cheap; cluster.go, improve.go how it searches
//	history.go          what it learns about change
//	strategy_*.go       what others do, for comparison and for those who want it
//	group.go            what people want to lie together
//	order.go            which layer lies on which
//	base.go             what of a plan an image needs above a base
//	report.go           what a plan does, for people
//
// [LargestFirst] plans a single image without a lock, as rules/ does in Starlark:
// keep the two alike. [Shrink] makes do with fewer layers than were planned.
package plan
