"Analysis tests of the rules that make layers of files."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:etc_layer.bzl", "etc_layer", "user")
load("//rules:file_layer.bzl", "file_layer")
load("//rules:image.bzl", "ImageInfo", "image")
load("//rules:root_layer.bzl", "root_layer")
load("//rules:store_layer.bzl", "LayerInfo")
load("//rules:tar_layer.bzl", "tar_layer")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")
load(":store_path_test.bzl", "TOP")

def _files_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    layer = target[LayerInfo]
    asserts.equals(env, [layer.blob], target[DefaultInfo].files.to_list())
    asserts.equals(env, ((), (), False, (), True), (layer.store_paths, layer.stripped, layer.altered, layer.refers_to, layer.on_top))
    action = only_action(env, "StrataFiles")
    asserts.equals(env, [
        "layer",
        "--output=" + layer.blob.path,
        "--digest-file=" + layer.digest_file.path,
        "--compression=zstd",
        "--level=7",
        "--mtime=0",
        "--owner=1000:100",
        "--owner-names=me:users",
        "--exclude=**/*.a",
        "--rename=[\"etc\",\"usr/etc\"]",
        "--mode=4755:usr/bin/*",
        "--set-owner=[\"srv\",\"1:1\"]",
        "--xattr=[\"srv\",\"user.a=b\"]",
        "--xattr=[\"srv\",\"user.c=d\"]",
        "--capabilities=[\"bin/ping\",\"cap_net_raw=ep\"]",
        "--collisions=first",
        "--omit-parents=true",
        "--allow-whiteout-names=true",
        "--entry={\"by\":\"files: @@//rules/tests:top.nar\",\"from\":\"rules/tests/top.nar\",\"path\":\"etc/top.nar\",\"type\":\"file\"}",
        "--entry={\"by\":\"tars: @@//rules/tests:layer.tar\",\"from\":\"rules/tests/layer.tar\",\"path\":\"\",\"type\":\"tar\"}",
        "--entry={\"by\":\"content: etc/two\",\"path\":\"etc/two\",\"text\":\"1\\n2\",\"type\":\"text\"}",
        "--entry={\"by\":\"symlinks: bin\",\"path\":\"bin\",\"target\":\"usr/bin\",\"type\":\"symlink\"}",
        "--entry={\"by\":\"directories: tmp\",\"mode\":\"1777\",\"path\":\"tmp\",\"type\":\"directory\"}",
        "--entry={\"by\":\"remove: etc/x\",\"path\":\"etc/x\",\"type\":\"remove\"}",
        "--entry={\"by\":\"clear: var\",\"path\":\"var\",\"type\":\"clear\"}",
    ], action_arguments(action))
    asserts.equals(
        env,
        ["rules/tests/layer.tar", "rules/tests/top.nar"],
        sorted([f.path for f in action.inputs.to_list() if f.is_source]),
    )
    asserts.equals(env, {}, action.env, "nothing of the environment")
    return analysistest.end(env)

_files_test = analysistest.make(_files_impl)

def _root_impl(ctx):
    env = analysistest.begin(ctx)
    layer = analysistest.target_under_test(env)[LayerInfo]
    asserts.equals(env, (TOP,), layer.refers_to)
    action = only_action(env, "StrataFiles")
    hash = "sha256:" + "0123456789abcdef" * 4
    asserts.equals(env, [
        "--exclude=share/doc",
        "--collisions=last",
        "--nar=" + json.encode({
            "compression": "none",
            "nar": "rules/tests/top.nar",
            "nar_hash": hash,
            "nar_size": "200",
            "store_path": TOP,
        }),
        "--entry=" + json.encode({
            "by": "roots: @@//rules/tests:top",
            "path": "usr",
            "root": TOP,
            "subdirs": ["bin"],
            "type": "copies",
        }),
    ], action_arguments(action)[4:])
    return analysistest.end(env)

_root_test = analysistest.make(_root_impl)

def _tar_impl(ctx):
    env = analysistest.begin(ctx)
    layer = analysistest.target_under_test(env)[LayerInfo]
    asserts.equals(env, ("rules/tests/layer.tar", "none"), (layer.blob.path, layer.compression), "nothing is copied")
    asserts.equals(env, [layer.digest_file], only_action(env, "StrataFiles").outputs.to_list())
    return analysistest.end(env)

_tar_test = analysistest.make(_tar_impl)

def _image_impl(ctx):
    env = analysistest.begin(ctx)
    layers = analysistest.target_under_test(env)[ImageInfo].layers
    asserts.equals(env, ["local_layer", "leaf_layer", "tar_as_layer", "root_as_layer"], [layer.label.name for layer in layers], "files on top, in their order")
    return analysistest.end(env)

_image_test = analysistest.make(_image_impl)

def _bare_impl(ctx):
    env = analysistest.begin(ctx)
    layers = analysistest.target_under_test(env)[ImageInfo].layers
    asserts.equals(env, ["root_as_layer"], [layer.label.name for layer in layers])

    # Its cmd is a store path of the mount.
    settings = [a for a in analysistest.target_actions(env) if a.mnemonic == "FileWrite" and "settings" in a.outputs.to_list()[0].path]
    asserts.equals(env, True, json.decode(settings[0].content).get("store_paths_mounted"))
    return analysistest.end(env)

_bare_test = analysistest.make(_bare_impl)

def file_layer_test_suite(name):
    """The tests of this file, and what they look at.

    Args:
      name: string, the suite's name.
    """
    file_layer(
        name = "all_of_files",
        allow_whiteout_names = True,
        capabilities = {"bin/ping": "cap_net_raw=ep"},
        clear = ["var"],
        collisions = "first",
        compression = "zstd",
        content = {"etc/two": "1\n2"},
        directories = {"tmp": "1777"},
        exclude = ["**/*.a"],
        files = {"top.nar": "etc/"},
        level = "7",
        modes = {"usr/bin/*": "4755"},
        mtime = 0,
        owner = "1000:100",
        owner_names = "me:users",
        owners = {"srv": "1:1"},
        parents = False,
        remove = ["etc/x"],
        rename = {"etc": "usr/etc"},
        symlinks = {"bin": "usr/bin"},
        tags = ["manual"],
        tars = {"layer.tar": ""},
        xattrs = {"srv": ["user.a=b", "user.c=d"]},
    )
    root_layer(
        name = "root_as_layer",
        collisions = "last",
        copy = True,
        exclude = ["share/doc"],
        prefix = "usr",
        roots = [":top"],
        subdirs = ["bin"],
        tags = ["manual"],
    )
    tar_layer(
        name = "tar_as_layer",
        tags = ["manual"],
        tar = "layer.tar",
    )
    image(
        name = "image_with_files",
        contents = [":root"],
        layers = [":tar_as_layer", ":root_as_layer"],
        tags = ["manual"],
    )
    image(
        name = "image_without_store_paths",
        contents = [":root"],
        include_store_paths = False,
        layers = [":root_as_layer"],
        tags = ["manual"],
    )
    tests = []
    for what, test, target in [
        ("files", _files_test, ":all_of_files"),
        ("root", _root_test, ":root_as_layer"),
        ("tar", _tar_test, ":tar_as_layer"),
        ("image", _image_test, ":image_with_files"),
        ("bare", _bare_test, ":image_without_store_paths"),
    ]:
        tests.append("%s_%s" % (name, what))
        test(
            name = tests[-1],
            size = "small",
            target_under_test = target,
        )

    for what, rule, attributes, want in [
        ("dot_dot", file_layer, {"content": {"etc/../x": ""}}, "content: \"etc/../x\": want a path in the image without double slashes"),
        ("double_slash", file_layer, {"symlinks": {"etc//x": "y"}}, "symlinks: \"etc//x\": want a path"),
        ("root_as_file", file_layer, {"content": {"/": ""}}, "content: \"/\": want a path in the image"),
        ("mode", file_layer, {"modes": {"a": "0888"}}, "modes: \"0888\" of \"a\": want octal digits"),
        ("directory_mode", file_layer, {"directories": {"a": "17777"}}, "directories: \"17777\" of \"a\": want octal digits"),
        ("owner", file_layer, {"owner": "me:users"}, "owner: \"me:users\": want UID:GID"),
        ("owners", file_layer, {"owners": {"a": "1:4294967296"}}, "owners: \"1:4294967296\" of \"a\": want UID:GID"),
        ("owner_names", file_layer, {"owner_names": "me:users"}, "owner_names: want owner too"),
        ("mtime", file_layer, {"content": {"a": ""}, "mtime": -1}, "mtime: -1: want seconds since 1970"),
        ("several", file_layer, {"files": {":linux_arm64": "etc/x"}}, "files: @@//rules/tests:linux_arm64 has no files"),
        ("binaries", file_layer, {"binaries": {":root": "app/x"}}, "binaries: @@//rules/tests:root is no program"),
        ("subdirs", root_layer, {"roots": [":top"], "subdirs": ["../bin"]}, "subdirs: \"../bin\": want a path"),
        ("user", etc_layer, {"users": ["web"]}, "users: \"web\": want user(...)"),
        ("time_zone", etc_layer, {"time_zone": "Europe/Berlin", "users": [user("web", 1000)]}, "time_zone: \"Europe/Berlin\": want time_zones too"),
        ("tar_name", tar_layer, {"tar": "top.nar"}, "tar: top.nar: how it is compressed can't be seen from its name"),
        ("leads_nowhere", image, {"layers": [":root_as_layer"], "system": "x86_64-linux"}, "leads to %s, which is in no layer" % TOP),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = rule,
            want = want,
            **attributes
        ))
    native.test_suite(
        name = name,
        tests = tests,
    )
