"`image_archive`: writes an image in another form."

load("//rules/private:image_archive.bzl", _image_archive = "image_archive")

image_archive = _image_archive
