"Analysis tests of image."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image.bzl", "ImageInfo", "image")
load("//rules:store_layer.bzl", "LayerInfo")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")
load(":other_configuration.bzl", "other_configuration")

def _actions_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    info = target[ImageInfo]
    groups = target[OutputGroupInfo]

    asserts.equals(env, ["web.tar"], [f.basename for f in target[DefaultInfo].files.to_list()])
    for group, want in {
        "config": [info.config],
        "descriptor": [info.descriptor],
        "digest": [info.digest],
        "digest_files": [layer.digest_file for layer in info.layers],
        "layers": [layer.blob for layer in info.layers],
        "manifest": [info.manifest],
    }.items():
        asserts.equals(env, want, getattr(groups, group).to_list(), "output group " + group)
    layout = groups.layout.to_list()
    asserts.true(env, len(layout) == 1 and layout[0].is_directory)
    asserts.equals(env, ("web:a", "web:b"), info.repo_tags)

    # The manifest is made of the digest files and the settings, and of nothing else.
    settings = [a for a in analysistest.target_actions(env) if a.mnemonic == "FileWrite" and "settings" in a.outputs.to_list()[0].path]
    asserts.equals(env, 1, len(settings))
    settings_file = settings[0].outputs.to_list()[0]
    asserts.equals(env, {
        "cmd": ["/start"],
        "entrypoint": ["/init"],
        "env": ["Z=1", "A=2 = two"],
        "ports": ["8080/tcp"],
        "labels": {"org.example.a": "b"},
        "stop_signal": "SIGINT",
        "system": "x86_64-linux",
        "user": "1000:100",
        "volumes": ["/data"],
        "workdir": "/srv",
    }, json.decode(settings[0].content))
    action = only_action(env, "StrataImage")
    inputs = {f: None for f in action.inputs.to_list()}
    for layer in info.layers:
        asserts.true(env, layer.digest_file in inputs)
        asserts.false(env, layer.blob in inputs, "the manifest needs no blob, such as %s" % layer.blob.path)
    asserts.equals(env, [
        "manifest",
        "--settings=" + settings_file.path,
    ] + ["--layer=" + layer.digest_file.path for layer in info.layers] + [
        "--config-output=" + info.config.path,
        "--manifest-output=" + info.manifest.path,
        "--descriptor-output=" + info.descriptor.path,
        "--digest-output=" + info.digest.path,
    ], action_arguments(action))

    parts = ["--config=" + info.config.path, "--manifest=" + info.manifest.path]
    for layer in info.layers:
        parts += ["--layer=" + layer.digest_file.path, "--blob=" + layer.blob.path]
    parts += ["--tag=web:a", "--tag=web:b"]
    archive = target[DefaultInfo].files.to_list()[0]
    asserts.equals(env, ["archive"] + parts + ["--output=" + archive.path], action_arguments(only_action(env, "StrataArchive")))
    asserts.equals(env, ["layout"] + parts + ["--output-dir=" + layout[0].path], action_arguments(only_action(env, "StrataLayout")))
    return analysistest.end(env)

_actions_test = analysistest.make(_actions_impl)

def _shared_layers_impl(ctx):
    env = analysistest.begin(ctx)
    layers = [layer.blob for layer in analysistest.target_under_test(env)[ImageInfo].layers]
    asserts.equals(env, 40, len(layers))
    for other in [ctx.attr.other, ctx.attr.built_for_another_machine[0]]:
        asserts.true(env, layers == [layer.blob for layer in other[ImageInfo].layers], "%s has other layers" % other.label)
    asserts.equals(
        env,
        ["StrataArchive", "StrataImage", "StrataLayout", "StrataTags"],
        sorted([a.mnemonic for a in analysistest.target_actions(env) if a.mnemonic.startswith("Strata")]),
        "an image over a planned closure has no layer action of its own",
    )
    return analysistest.end(env)

_shared_layers_test = analysistest.make(
    _shared_layers_impl,
    attrs = {
        "built_for_another_machine": attr.label(
            cfg = other_configuration,
            providers = [ImageInfo],
        ),
        "other": attr.label(providers = [ImageInfo]),
    },
)

def _max_layers_impl(ctx):
    env = analysistest.begin(ctx)
    layers = analysistest.target_under_test(env)[ImageInfo].layers
    planned = ctx.attr.other[ImageInfo].layers
    asserts.equals(env, 8, len(layers))
    asserts.equals(env, [layer.blob for layer in planned[:7]], [layer.blob for layer in layers[:7]], "the largest are the plan's")
    asserts.equals(env, 33, len(layers[7].store_paths), "the rest is together")
    asserts.equals(env, [layers[7].blob], [a.outputs.to_list()[0] for a in [only_action(env, "StrataLayer")]])
    return analysistest.end(env)

_max_layers_test = analysistest.make(
    _max_layers_impl,
    attrs = {"other": attr.label(providers = [ImageInfo])},
)

def _planned_limit_impl(ctx):
    env = analysistest.begin(ctx)
    layers = analysistest.target_under_test(env)[ImageInfo].layers
    asserts.equals(env, 70, len(layers), "the lock's limit holds, not the 64 of contents without a plan")
    asserts.equals(env, [], [a.mnemonic for a in analysistest.target_actions(env) if a.mnemonic == "StrataLayer"])
    return analysistest.end(env)

_planned_limit_test = analysistest.make(_planned_limit_impl)

def _default_limit_impl(ctx):
    env = analysistest.begin(ctx)
    layers = analysistest.target_under_test(env)[ImageInfo].layers
    asserts.equals(env, [1] * 63 + [7], [len(layer.store_paths) for layer in layers])
    return analysistest.end(env)

_default_limit_test = analysistest.make(_default_limit_impl)

def _unplanned_impl(ctx):
    env = analysistest.begin(ctx)
    layers = analysistest.target_under_test(env)[ImageInfo].layers
    asserts.equals(env, ctx.attr.explicit[LayerInfo].blob, layers[0].blob, "the explicit layer comes first")
    asserts.equals(env, [["leaf"]], [[e.label.name for e in layer.store_paths] for layer in layers[1:]])
    asserts.equals(env, layers[1].blob, only_action(env, "StrataLayer").outputs.to_list()[0])
    return analysistest.end(env)

_unplanned_test = analysistest.make(
    _unplanned_impl,
    attrs = {"explicit": attr.label(providers = [LayerInfo])},
)

def _on_base_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[ImageInfo]
    base = ctx.attr.base[ImageInfo]
    asserts.equals(env, 3, len(base.layers))
    asserts.equals(env, [layer.blob for layer in base.layers], [layer.blob for layer in info.layers[:3]], "the base's layers come first")
    asserts.equals(env, 40, info.layer_count, "what the base has is not added again")
    paths = [e.path for layer in info.layers for e in layer.store_paths]
    asserts.equals(env, sorted({p: None for p in paths}.keys()), sorted(paths))
    action = only_action(env, "StrataImage")
    asserts.false(env, [f for f in action.inputs.to_list() if f in [layer.blob for layer in info.layers]], "the manifest needs no blob of the base")
    return analysistest.end(env)

_on_base_test = analysistest.make(
    _on_base_impl,
    attrs = {"base": attr.label(providers = [ImageInfo])},
)

def _stamped_impl(ctx):
    env = analysistest.begin(ctx)
    names = [f.basename for f in only_action(env, "StrataImage").inputs.to_list()]
    asserts.true(env, "stable-status.txt" in names and "volatile-status.txt" not in names, "of a stable key the stable status: %s" % names)
    names = [f.basename for f in only_action(env, "StrataTags").inputs.to_list()]
    asserts.true(env, "stable-status.txt" in names and "volatile-status.txt" in names, "of a volatile key both: %s" % names)
    names = [f.basename for f in only_action(env, "StrataArchive").inputs.to_list()]
    asserts.true(env, "stamped.tags" in names and "stable-status.txt" not in names)
    return analysistest.end(env)

_stamped_test = analysistest.make(_stamped_impl)

def image_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = []
    for what, test, target, attributes in [
        ("actions", _actions_test, ":web", {}),
        ("shared_layers", _shared_layers_test, ":web", {
            "built_for_another_machine": ":web",
            "other": ":web_other_settings",
        }),
        ("max_layers", _max_layers_test, ":web_of_eight", {"other": ":web"}),
        ("planned_limit", _planned_limit_test, ":seventy_planned", {}),
        ("default_limit", _default_limit_test, ":seventy_unplanned", {}),
        ("on_base", _on_base_test, ":web_on_base", {"base": ":bash"}),
        ("stamped", _stamped_test, ":stamped", {}),
        ("unplanned", _unplanned_test, ":unplanned", {"explicit": ":local_layer"}),
    ]:
        tests.append("%s_%s" % (name, what))
        test(
            name = tests[-1],
            size = "small",
            target_under_test = target,
            **attributes
        )
    for what, attributes, want in [
        ("empty", {"system": "x86_64-linux"}, "contents: the image is empty"),
        ("no_system", {"contents": [":middle"]}, "system: nothing in contents says"),
        ("systems", {"contents": [":top", ":arm_root"]}, ["contents: ", "is for x86_64-linux", "is for aarch64-linux"]),
        ("other_system", {"contents": [":top"], "system": "aarch64-linux"}, ["system: aarch64-linux, but ", "is for x86_64-linux"]),
        ("env_name", {"contents": [":top"], "env": {"A=B": "x"}}, "env: \"A=B\": a variable's name"),
        ("user", {"contents": [":top"], "user": "a b"}, "user: \"a b\": want USER or USER:GROUP, each a name or a number"),
        ("workdir", {"contents": [":top"], "workdir": "srv"}, "workdir: \"srv\": want an absolute path"),
        ("port", {"contents": [":top"], "ports": ["0"]}, "ports: \"0\": want PORT or PORT/PROTOCOL"),
        ("port_twice", {"contents": [":top"], "ports": ["80", "80/tcp"]}, "ports: \"80/tcp\": 80/tcp is listed twice"),
        ("volume", {"contents": [":top"], "volumes": ["/"]}, "volumes: \"/\": the root can't be a volume"),
        ("volume_twice", {"contents": [":top"], "volumes": ["/a", "/a"]}, "volumes: \"/a\": listed twice"),
        ("signal", {"contents": [":top"], "stop_signal": "TERM"}, "stop_signal: \"TERM\": want a signal such as SIGTERM"),
        ("healthcheck", {"contents": [":top"], "healthcheck": ["/bin/ask"]}, "healthcheck: \"/bin/ask\": want CMD and a program"),
        ("healthcheck_option", {"contents": [":top"], "healthcheck": ["NONE"], "healthcheck_options": {"every": "1s"}}, "healthcheck_options: \"every\": want interval, timeout"),
        ("env_prepend", {"contents": [":top"], "env_prepend": {"": "x"}}, "env_prepend: \"\": a variable's name"),
        ("annotation", {"annotations": {"": "x"}, "contents": [":top"]}, "annotations: \"\": the key is empty"),
        ("two_configs", {"config_file": "command.bzl", "config_json": "{}", "contents": [":top"]}, "config_json: want either this or config_file"),
        ("base_name_alone", {"base_name": "x", "contents": [":top"]}, "base_name: it goes with base"),
        ("base_name_of_image", {"base": ":web", "base_name": "x", "contents": [":top"]}, "is one image; it goes with an archive or a layout"),
        ("base_layers", {"base": ":web", "base_layers": 3, "contents": [":top"]}, "base_layers: 3, but @@//rules/tests:web has 40"),
        ("base_of_files", {"base": ":two_files", "contents": [":top"]}, "want an image, an archive, or an OCI layout"),
        ("base_full", {"base": ":web", "contents": [":top"], "max_layers": 40}, "is in no layer: max_layers is 40, and so many are in the base and in `layers`"),
        ("base_over", {"base": ":web", "contents": [":top"], "max_layers": 39}, "the base has 40 layers and there are 0 explicit ones, but max_layers is 39"),
        ("not_stamped", {"contents": [":top"], "labels": {"a": "{STABLE_X}"}}, "{STABLE_X} has no value, since the build is not stamped: build with --stamp"),
        ("tag_not_stamped", {"contents": [":top"], "repo_tags": ["web:{STABLE_X}"]}, "repo_tags: {STABLE_X} has no value"),
        ("never_stamped", {"contents": [":top"], "repo_tags": ["web:{STABLE_X}"], "stamp": 0}, "repo_tags: \"web:{STABLE_X}\": tag \"{STABLE_X}\": want letters"),
        ("entrypoint", {"contents": [":top"], "entrypoint": [""]}, "entrypoint: \"\": the program's name is empty"),
        ("label", {"contents": [":top"], "labels": {"": "x"}}, "labels: \"\": the key is empty"),
        ("tag", {"contents": [":top"], "repo_tags": ["Web"]}, "repo_tags: \"Web\": component \"Web\" of the name: want lower-case letters"),
        ("system", {"contents": [":middle"], "system": "vax-vms"}, "system: \"vax-vms\": no container platform is known for it; want one of aarch64-linux"),
        ("max_layers_negative", {"contents": [":top"], "max_layers": -1}, "max_layers: -1: want 1 to 125"),
        ("max_layers_126", {"contents": [":top"], "max_layers": 126}, "max_layers: 126: want 1 to 125"),
        ("path_in_two_layers", {
            "contents": [":top"],
            "layers": [":local_layer", ":fetching_layer"],
        }, ["171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-middle is in two layers", "//rules/tests:local_layer", "//rules/tests:fetching_layer"]),
        ("path_in_no_layer", {
            "contents": [":top"],
            "layers": [":local_layer"],
            "max_layers": 1,
        }, "0i1z7gpjsbqynxvczq9y25iqvl66875x-leaf is in no layer"),
        ("reference_in_no_layer", {
            "layers": [":local_layer"],
            "system": "x86_64-linux",
        }, ["171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-middle (in layer", "refers to /nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-leaf, which is in no layer"]),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = image,
            want = want,
            **attributes
        ))
    native.test_suite(name = name, tests = tests)
