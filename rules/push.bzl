"`image_push`: sends an image to a registry."

load("//rules/private:image_push.bzl", _image_push = "image_push")

image_push = _image_push
