"`store_path`: declares a store path by its NAR."

load("//rules/private:providers/store_path_info.bzl", _StorePathInfo = "StorePathInfo")
load("//rules/private:store_path.bzl", _store_path = "store_path")

store_path = _store_path
StorePathInfo = _StorePathInfo
