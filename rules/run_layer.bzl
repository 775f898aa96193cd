"`run_layer`: makes a layer of what a program of an image changes in it."

load("//rules/private:run_layer.bzl", _run_layer = "run_layer")

run_layer = _run_layer
