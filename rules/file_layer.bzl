"`file_layer`: makes a layer of files, folders, tars and programs of the build."

load("//rules/private:file_layer.bzl", _file_layer = "file_layer")

file_layer = _file_layer
