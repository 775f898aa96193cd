"""Which layers an image has: pure functions, apart from the rule so that they can be tested alone.

Words: an *entry* is one store path as StorePathInfo's `entry` has it (`path`, `nar_size`, `references`, `nar_hash`,
`label` are read here); a *layer* is a LayerInfo (`store_paths`, `stripped`, `on_top`, `refers_to`, `label` are read here).
"""

# Base image included. One more and docker's graph drivers refuse the image: "max depth exceeded".
MAX_LAYERS = 125

# For contents that no lock has planned.
DEFAULT_MAX_LAYERS = 64

def layer_limit(max_layers, planned_limits, base_layers = 0):
    """Says how many layers an image may have.

    Args:
      max_layers: int, what its author asks for; 0 for what was planned.
      planned_limits: list of int, for each of the contents the limit that its plan kept to; 0 for contents without a plan.
      base_layers: int, how many layers its base has: where nobody asks for less, they come on top of what was planned.

    Returns:
      int, and a string that says what is wrong with max_layers, or None.
    """
    if max_layers == 0:
        # Of several the greatest, so that no planned layer is broken up where its own lock would not.
        limit = max([n or DEFAULT_MAX_LAYERS for n in planned_limits] or [DEFAULT_MAX_LAYERS])
        return min(limit + base_layers, MAX_LAYERS), None
    if not 1 <= max_layers or not max_layers <= MAX_LAYERS:
        return None, "max_layers: %d: want 1 to %d; docker's graph drivers refuse images of more layers (\"max depth exceeded\")" % (
            max_layers,
            MAX_LAYERS,
        )
    return max_layers, None

def largest_first(entries):
    """Sorts store paths as `LargestFirst` of tool/plan does.

    Args:
      entries: list of entries.

    Returns:
      list of entries, by NarSize, largest first; those of one size by path.
    """
    return sorted(entries, key = lambda e: (-int(e.nar_size), e.path))

def select_layers(closure, explicit, planned, max_layers, base_paths = {}, base_layers = 0, complete = True):
    """Says which layers make an image, and which paths still need one.

    The explicit layers of store paths come first, in the order given. Then come the planned layers that share no path with them or
    with one another, as they are, so that they are shared with other images. Paths left over follow largest first,
    one a layer, as long as there is room; what doesn't fit goes into one last layer together. If there are too many
    planned layers, those that come first in the plan stay, and the rest is in that last layer. The explicit layers that
    belong on top, those of files, follow in the order given: they customise what is below them.

    Without explicit layers this gives what `strata build --max-layers` gives, for a plan that is largest-first as
    for none at all: the plan's first layers are the largest paths, one each, and whatever is not kept goes together.

    Args:
      closure: list of entries, every path that the image must hold. A path may be there twice (from two locks), if both are the same.
      explicit: list of layers that the image is to have in any case.
      planned: list of layers in the order of the plan, or of several plans one after the other.
      max_layers: int. The greatest number of layers, the base's among them.
      base_paths: dict of string to string: the NarHash of each store path that the base has; they need no layer.
      base_layers: int, how many layers the base has.
      complete: bool. Whether store paths must be in the image that others in it, or its files, refer to.

    Returns:
      struct with `layers` (list of layers, lowest first), `added` (list of non-empty lists of entries: the layers that
      must be made on top of them, lowest first), `top` (list of layers on top of these) and `error` (string, or None if
      the image can be made).
    """
    needed = {}
    for e in closure:
        other = needed.setdefault(e.path, e)
        if other.nar_hash != e.nar_hash:
            return _error("%s is in the closure as two different things: %s has NarHash %s, %s has %s" % (
                e.path,
                other.label,
                other.nar_hash,
                e.label,
                e.nar_hash,
            ))

    for path, nar_hash in base_paths.items():
        if path in needed and needed.pop(path).nar_hash != nar_hash:
            return _error("%s is in the base with NarHash %s, but contents have it with another; lock both from one cache, or take another base" % (path, nar_hash))

    # Path -> the layer that holds it.
    taken = {}
    for layer in explicit:
        for e in layer.store_paths:
            if e.path in taken:
                return _error("%s is in two layers, %s and %s" % (e.path, taken[e.path].label, layer.label))
            taken[e.path] = layer
            if e.path in needed and needed[e.path].nar_hash != e.nar_hash:
                return _error("%s is in layer %s with NarHash %s, but contents have it (%s) with %s" % (
                    e.path,
                    layer.label,
                    e.nar_hash,
                    needed[e.path].label,
                    needed[e.path].nar_hash,
                ))
    for layer in explicit if complete else []:
        for path in getattr(layer, "refers_to", ()):
            if path not in needed and path not in taken and path not in base_paths:
                return _error("layer %s leads to %s, which is in no layer; put its target into contents, or set include_store_paths = False" % (
                    layer.label,
                    path,
                ))
        for e in layer.store_paths + layer.stripped:
            for r in e.references:
                if r not in needed and r not in taken and r not in base_paths:
                    return _error("%s (in layer %s) refers to %s, which is in no layer; put %s into contents, or its closure into layers" % (
                        e.path,
                        layer.label,
                        r,
                        e.label,
                    ))

    kept = []
    for layer in planned:
        if not [e for e in layer.store_paths if e.path in taken or e.path not in needed]:
            kept.append(layer)
            for e in layer.store_paths:
                taken[e.path] = layer
    left = [e for e in needed.values() if e.path not in taken]

    room = max_layers - base_layers - len(explicit)
    if room < 0 and base_layers:
        return _error("the base has %d layers and there are %d explicit ones, but max_layers is %d; set it to at least as many" % (base_layers, len(explicit), max_layers))
    if room < 0:
        return _error("%d explicit layers, but max_layers is %d; set it to at least as many" % (len(explicit), max_layers))
    if room == 0 and (kept or left):
        path = (left + [e for layer in kept for e in layer.store_paths])[0].path
        where = "in the base and in `layers`" if base_layers else "in `layers`"
        return _error("%s is in no layer: max_layers is %d, and so many are %s; set it to more" % (path, max_layers, where))
    if len(kept) > room or (len(kept) == room and left):
        for layer in kept[room - 1:]:
            left += [needed[e.path] for e in layer.store_paths]
        kept = kept[:room - 1]
    left = largest_first(left)
    alone = room - len(kept)
    if len(left) > alone:
        alone -= 1
    added = [[e] for e in left[:alone]]
    if left[alone:]:
        added.append(left[alone:])
    top = [layer for layer in explicit if getattr(layer, "on_top", False)]
    below = [layer for layer in explicit if not getattr(layer, "on_top", False)]
    return struct(layers = below + kept, added = added, top = top, error = None)

def _error(message):
    return struct(layers = [], added = [], top = [], error = message)

def plan_error(closure, layers):
    """Says what is wrong with a plan.

    Args:
      closure: list of entries.
      layers: list of layers.

    Returns:
      string that names a path which is not in exactly one layer, or None if there is none.
    """
    holders = {e.path: None for e in closure}
    for layer in layers:
        for e in layer.store_paths:
            if e.path not in holders:
                return "%s is in layer %s, but not in the closure" % (e.path, layer.label)
            if holders[e.path]:
                return "%s is in two layers, %s and %s" % (e.path, holders[e.path].label, layer.label)
            holders[e.path] = layer
    for path, layer in holders.items():
        if not layer:
            return "%s is in no layer" % path
    return None
