"`etc_layer`: makes a layer of users and groups, and of what else a small image lacks."

load("//rules/private:etc_layer.bzl", _etc_layer = "etc_layer", _group = "group", _user = "user")

etc_layer = _etc_layer
group = _group
user = _user
