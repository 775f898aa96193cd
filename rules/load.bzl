"`image_load`: puts an image into a container runtime."

load("//rules/private:image_load.bzl", _image_load = "image_load")

image_load = _image_load
