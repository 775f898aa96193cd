"`tar_layer`: makes a layer of a tar as it is."

load("//rules/private:tar_layer.bzl", _tar_layer = "tar_layer")

tar_layer = _tar_layer
