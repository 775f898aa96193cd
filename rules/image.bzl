"`image`: makes a container image."

load("//rules/private:image.bzl", _image = "image")
load("//rules/private:providers/base_image_info.bzl", _BaseImageInfo = "BaseImageInfo")
load("//rules/private:providers/image_info.bzl", _ImageInfo = "ImageInfo")

image = _image
BaseImageInfo = _BaseImageInfo
ImageInfo = _ImageInfo
