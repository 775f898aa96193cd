"Unit tests of layer_selection.bzl: which layers make an image."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:layer_selection.bzl", "largest_first", "layer_limit", "plan_error", "select_layers")
load(":unit_tests.bzl", "unit_tests")

def _path(name, size = 1, references = [], nar_hash = None, label = None):
    return struct(
        label = label or "//path:" + name,
        path = name,
        nar_hash = nar_hash or "hash of " + name,
        nar_size = str(size),
        references = references,
    )

def _layer(label, paths):
    return struct(label = label, store_paths = tuple(paths), stripped = ())

def _names(layer):
    return [e.path for e in layer.store_paths] if hasattr(layer, "store_paths") else [e.path for e in layer]

def _check(env, want, closure, explicit = [], planned = [], max_layers = 64):
    "Checks the layers, as names of paths, those that must be made in tuples."
    got = select_layers(closure, explicit, planned, max_layers)
    asserts.equals(env, None, got.error)
    asserts.equals(env, want, [_names(layer) for layer in got.layers] + [tuple(_names(layer)) for layer in got.added])
    return got

def _check_error(env, parts, closure, explicit = [], planned = [], max_layers = 64):
    got = select_layers(closure, explicit, planned, max_layers)
    for part in parts:
        asserts.true(env, got.error and part in got.error, "want an error with %r, got %r" % (part, got.error))

# Sizes fall from a to e; d and e are of one size.
_A = _path("a", 1000)
_B = _path("b", 100)
_C = _path("c", 99)
_D = _path("d", 3)
_E = _path("e", 3)
_ALL = [_E, _C, _A, _D, _B]

# What `strata lock` plans for them, one each and with a limit of three.
_ONE_EACH = [_layer("//layer:" + p.path, [p]) for p in [_A, _B, _C, _D, _E]]
_OF_THREE = [_layer("//layer:a", [_A]), _layer("//layer:b", [_B]), _layer("//layer:rest", [_C, _D, _E])]

def _no_plan_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, [_A, _B, _C, _D, _E], largest_first(_ALL))
    asserts.equals(env, ["10", "9"], [e.nar_size for e in largest_first([_path("x", 9), _path("y", 10)])], "sizes are numbers")
    _check(env, [("a",), ("b",), ("c",), ("d",), ("e",)], _ALL)
    _check(env, [("a",), ("b",), ("c",), ("d",), ("e",)], _ALL, max_layers = 5)
    _check(env, [("a",), ("b",), ("c",), ("d", "e")], _ALL, max_layers = 4)
    _check(env, [("a",), ("b", "c", "d", "e")], _ALL, max_layers = 2)
    _check(env, [("a", "b", "c", "d", "e")], _ALL, max_layers = 1)
    _check(env, [], [])
    return unittest.end(env)

_no_plan_test = unittest.make(_no_plan_impl)

def _plan_impl(ctx):
    env = unittest.begin(ctx)
    got = _check(env, [["a"], ["b"], ["c"], ["d"], ["e"]], _ALL, planned = _ONE_EACH)
    asserts.equals(env, _ONE_EACH, got.layers, "the very targets of the plan")
    asserts.equals(env, [], got.added, "no layer of the image's own")
    _check(env, [["a"], ["b"], ["c", "d", "e"]], _ALL, planned = _OF_THREE)
    _check(env, [["a"], ["b"], ["c", "d", "e"]], _ALL, planned = _OF_THREE, max_layers = 3)

    # Fewer layers than planned: the same as planning with that limit, though the plan's last layer is larger than b.
    _check(env, [["a"], ("b", "c", "d", "e")], _ALL, planned = _OF_THREE, max_layers = 2)
    _check(env, [("a", "b", "c", "d", "e")], _ALL, planned = _OF_THREE, max_layers = 1)
    for limit in range(1, 8):
        planned = select_layers(_ALL, [], _ONE_EACH, limit)
        unplanned = select_layers(_ALL, [], [], limit)
        asserts.equals(
            env,
            [_names(layer) for layer in unplanned.added],
            [_names(layer) for layer in planned.layers + planned.added],
            "max_layers = %d: with and without a plan" % limit,
        )
    return unittest.end(env)

_plan_test = unittest.make(_plan_impl)

def _several_plans_impl(ctx):
    env = unittest.begin(ctx)

    # Two roots: a shared layer is there once, and what a group that doesn't fit leaves gets layers of its own.
    _check(env, [["a"], ["b"], ["c"]], [_A, _B, _C], planned = [
        _layer("//layer:a", [_A]),
        _layer("//layer:b", [_B]),
        _layer("//layer:a", [_A]),
        _layer("//layer:c", [_C]),
    ])
    _check(env, [["a"], ["b"], ("c",), ("d",)], [_A, _B, _C, _D], planned = [
        _layer("//layer:a", [_A]),
        _layer("//layer:b", [_B]),
        _layer("//layer:bcd", [_B, _C, _D]),
    ])
    _check(env, [["a"], ["b"], ("c", "d")], [_A, _B, _C, _D], max_layers = 3, planned = [
        _layer("//layer:a", [_A]),
        _layer("//layer:b", [_B]),
        _layer("//layer:bcd", [_B, _C, _D]),
    ])

    # One root is planned, the other is not.
    _check(env, [["a"], ("b",), ("c",)], [_A, _B, _C], planned = [_layer("//layer:a", [_A])])
    return unittest.end(env)

_several_plans_test = unittest.make(_several_plans_impl)

def _explicit_impl(ctx):
    env = unittest.begin(ctx)
    mine = _layer("//:mine", [_E, _C])
    _check(env, [["e", "c"], ["a"], ["b"], ["d"]], _ALL, explicit = [mine], planned = _ONE_EACH)
    _check(env, [["e", "c"], ["a"], ["b"], ("d",)], _ALL, explicit = [mine], planned = _OF_THREE)
    _check(env, [["e", "c"], ["a"], ("b", "d")], _ALL, explicit = [mine], planned = _OF_THREE, max_layers = 3)
    _check(env, [["e", "c"], ("a", "b", "d")], _ALL, explicit = [mine], planned = _ONE_EACH, max_layers = 2)
    second = _layer("//:second", [_A])
    _check(env, [["a"], ["e", "c"], ("b",), ("d",)], _ALL, explicit = [second, mine])
    all = _layer("//:all", _ALL)
    _check(env, [["e", "c", "a", "d", "b"]], _ALL, explicit = [all], planned = _ONE_EACH, max_layers = 1)
    _check(env, [["e", "c", "a", "d", "b"]], [], explicit = [all], max_layers = 1)

    # More than the closure is fine, as long as references are met.
    _check(env, [["f"], ("a",)], [_A], explicit = [_layer("//:f", [_path("f", references = ["a", "f"])])])
    _check(env, [["f"], ["a"]], [], explicit = [_layer("//:f", [_path("f", references = ["a", "f"])]), second])

    # What a customisation layer is made of isn't in the image by that; what it refers to must be.
    custom = struct(label = "//:custom", store_paths = (), stripped = (_path("a", references = ["b"]),))
    _check(env, [[], ("a",), ("b",)], [_A, _B], explicit = [custom])

    # Layers of files come on top, in their order, and count; what they lead to must be in the image.
    files = struct(label = "//:files", store_paths = (), stripped = (), on_top = True, refers_to = ())
    links = struct(label = "//:links", store_paths = (), stripped = (), on_top = True, refers_to = ("a",))
    got = _check(env, [["e", "c"], ["a"], ("b", "d")], _ALL, explicit = [files, mine, links], planned = _ONE_EACH, max_layers = 5)
    asserts.equals(env, [files, links], got.top)
    _check_error(env, ["layer //:links leads to a, which is in no layer", "include_store_paths"], [_B], explicit = [links])
    got = select_layers([], [links, files], [], 2, complete = False)
    asserts.equals(env, (None, [], [], [links, files]), (got.error, got.layers, got.added, got.top))
    _check_error(env, ["a (in layer //:custom) refers to b, which is in no layer"], [_A], explicit = [custom])
    return unittest.end(env)

_explicit_test = unittest.make(_explicit_impl)

def _errors_impl(ctx):
    env = unittest.begin(ctx)
    mine = _layer("//:mine", [_E, _C])
    _check_error(env, ["c is in two layers", "//:mine", "//:other"], _ALL, explicit = [mine, _layer("//:other", [_C])])
    _check_error(env, ["is in two layers", "//:mine"], _ALL, explicit = [mine, mine])
    _check_error(
        env,
        ["f (in layer //:f) refers to g, which is in no layer", "//path:f"],
        [_A],
        explicit = [_layer("//:f", [_path("f", references = ["a", "g"])])],
    )
    _check_error(env, ["a is in no layer", "max_layers is 1"], _ALL, explicit = [mine], max_layers = 1, planned = _ONE_EACH)
    _check_error(env, ["is in no layer", "max_layers is 1"], _ALL, explicit = [mine], max_layers = 1)
    _check_error(
        env,
        ["2 explicit layers", "max_layers is 1"],
        [_A, _B],
        explicit = [_layer("//:a", [_A]), _layer("//:b", [_B])],
        max_layers = 1,
    )
    other_a = _path("a", nar_hash = "other", label = "@other//path:a")
    _check_error(env, ["a is in the closure as two different things", "//path:a", "@other//path:a"], [_A, other_a])
    _check_error(env, ["a is in layer //:other", "other", "hash of a", "//path:a"], [_A], explicit = [_layer("//:other", [other_a])])

    # The same path by two locks is fine.
    _check(env, [("a",)], [_A, _path("a", 1000, label = "@other//path:a")])
    return unittest.end(env)

_errors_test = unittest.make(_errors_impl)

def _limit_impl(ctx):
    env = unittest.begin(ctx)
    for asked, planned, want in [
        (0, [], 64),
        (0, [0], 64),
        (0, [8], 8),
        (0, [125], 125),
        (0, [8, 100], 100),
        (0, [8, 0], 64),
        (0, [100, 0], 100),
        (1, [125], 1),
        (125, [8], 125),
    ]:
        asserts.equals(env, (want, None), layer_limit(asked, planned))
    for asked in [-1, 126]:
        limit, error = layer_limit(asked, [64])
        asserts.equals(env, None, limit)
        asserts.true(env, "max_layers: %d: want 1 to 125" % asked in error, error)

    # As many layers as a plan of more than 64 has, and no fewer: what `strata build` makes of it.
    closure = [_path("p%d" % i, 1000 - i) for i in range(70)]
    plan = [_layer("//layer:" + p.path, [p]) for p in closure]
    got = select_layers(closure, [], plan, layer_limit(0, [100])[0])
    asserts.equals(env, plan, got.layers)
    asserts.equals(env, [], got.added)
    got = select_layers(closure, [], plan, layer_limit(64, [100])[0])
    asserts.equals(env, plan[:63], got.layers)
    asserts.equals(env, [7], [len(layer) for layer in got.added])
    return unittest.end(env)

_limit_test = unittest.make(_limit_impl)

def _plan_error_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, None, plan_error(_ALL, _ONE_EACH))
    asserts.equals(env, None, plan_error(_ALL, _OF_THREE))
    asserts.equals(env, "e is in no layer", plan_error(_ALL, _ONE_EACH[:-1]))
    asserts.equals(env, "c is in two layers, //layer:c and //layer:rest", plan_error(_ALL, _ONE_EACH[:3] + _OF_THREE[2:]))
    asserts.equals(env, "e is in layer //layer:e, but not in the closure", plan_error([_A, _B, _C, _D], _ONE_EACH))
    return unittest.end(env)

_plan_error_test = unittest.make(_plan_error_impl)

def layer_selection_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    unit_tests(name, {
        "no_plan": _no_plan_test,
        "plan": _plan_test,
        "several_plans": _several_plans_test,
        "explicit": _explicit_test,
        "errors": _errors_test,
        "limit": _limit_test,
        "plan_error": _plan_error_test,
    })
