"A program with its runfiles, as Bazel lays them out beside it."

load(":files_action.bzl", "add_entries", "entry", "entry_argument")

def runfiles_inputs(target):
    """The files of a program.

    Args:
      target: Target, an executable one.

    Returns:
      depset of Files.
    """
    info = target[DefaultInfo]
    direct = [info.files_to_run.executable]
    mapping = _repo_mapping(info)
    if mapping:
        direct.append(mapping)
    runfiles = info.default_runfiles
    return depset(direct, transitive = [
        runfiles.files,
        depset([s.target_file for s in runfiles.symlinks.to_list() + runfiles.root_symlinks.to_list()]),
    ])

def add_runfiles(args, target, path, workspace_name):
    """Adds a program at `path`, and its runfiles in the directory `path.runfiles`.

    Runfiles libraries find that directory by the program's own name. In it are a directory for each repository, by
    canonical name, and `_repo_mapping`, by which they translate apparent names.

    Args:
      args: Args, from files_args.
      target: Target.
      path: string, where the program is in the image.
      workspace_name: string, the main repository's name in runfiles.
    """
    info = target[DefaultInfo]
    by = "binaries: %s" % target.label
    executable = info.files_to_run.executable
    if not executable:
        fail("binaries: %s is no program; `files` takes what is none" % target.label)
    root = path + ".runfiles/"

    # The program is in its own runfiles too: one file with two names, as are files that programs share.
    add_entries(args, [entry("file", file = executable, path = path, shared = True, by = by)])
    runfiles = info.default_runfiles
    args.add_all(
        runfiles.files,
        map_each = lambda f: entry_argument(_runfile(f, root + _place(f.short_path, workspace_name), by)),
        allow_closure = True,
    )
    add_entries(args, [
        _runfile(s.target_file, root + workspace_name + "/" + s.path, by)
        for s in runfiles.symlinks.to_list()
    ] + [
        _runfile(s.target_file, root + s.path, by)
        for s in runfiles.root_symlinks.to_list()
    ] + [
        entry("text", text = "", path = root + _empty_place(name, workspace_name), by = by)
        for name in runfiles.empty_filenames.to_list()
        if name != "external/__init__.py"
    ])
    mapping = _repo_mapping(info)
    if mapping:
        add_entries(args, [entry("file", file = mapping, path = root + "_repo_mapping", by = by)])

def _runfile(f, path, by):
    if getattr(f, "is_symlink", False):
        return entry("symlink", file = f, path = path, by = by)
    if f.is_directory:  # What a symlink leads to; `files` come with directories as the files in them.
        return entry("folder", file = f, follow = True, path = path, by = by)
    return entry("file", file = f, path = path, shared = True, by = by)

def _repo_mapping(info):
    "Bazel has it since 7, and in MODULE.bazel mode alone."
    return getattr(info.files_to_run, "repo_mapping_manifest", None)

def _empty_place(name, workspace_name):
    """Where an empty file is that makes a Python package of a directory.

    Bazel 7 still names those of other repositories as they were when repositories lay below `external` of the workspace's directory
    (`--legacy_external_runfiles`), where nothing looks for them any more and nothing else is.
    """
    if name.startswith("external/"):
        return name[len("external/"):]
    return _place(name, workspace_name)

def _place(short_path, workspace_name):
    if short_path.startswith("../"):
        return short_path[len("../"):]
    return workspace_name + "/" + short_path
