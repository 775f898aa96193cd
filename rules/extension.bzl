"`strata`: the module extension that declares the repositories of locks."

load("//rules/private:extension.bzl", _strata = "strata")

strata = _strata
