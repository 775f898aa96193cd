"`store_layer`: makes a layer out of store paths."

load("//rules/private:providers/layer_info.bzl", _LayerInfo = "LayerInfo")
load("//rules/private:store_layer.bzl", _store_layer = "store_layer")

store_layer = _store_layer
LayerInfo = _LayerInfo
