"`image_index`: makes one image of several platforms."

load("//rules/private:image_index.bzl", _image_index = "image_index")
load("//rules/private:providers/image_index_info.bzl", _ImageIndexInfo = "ImageIndexInfo")

image_index = _image_index
ImageIndexInfo = _ImageIndexInfo
