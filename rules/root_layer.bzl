"`root_layer`: makes a layer of links from the image's root to store paths."

load("//rules/private:root_layer.bzl", _root_layer = "root_layer")

root_layer = _root_layer
