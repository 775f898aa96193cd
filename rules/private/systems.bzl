"The systems of Nix and Guix that a lock may be for."

# System -> the constraint values of a target platform that it runs on. //rules/system has a config_setting of each
# name. The systems are those of tool/image/platform.go (a test compares them), which has the platforms that images get.
# Guix says armhf where Nix says armv7l: a root is locked for one of the two.
SYSTEMS = {
    "aarch64-linux": ["@platforms//cpu:aarch64", "@platforms//os:linux"],
    "armhf-linux": ["@platforms//cpu:armv7", "@platforms//os:linux"],
    "armv6l-linux": ["@platforms//cpu:aarch32", "@platforms//os:linux"],
    "armv7l-linux": ["@platforms//cpu:armv7", "@platforms//os:linux"],
    "i686-linux": ["@platforms//cpu:x86_32", "@platforms//os:linux"],
    "loongarch64-linux": ["@platforms//cpu:loongarch64", "@platforms//os:linux"],
    "mips64el-linux": ["@platforms//cpu:mips64", "@platforms//os:linux"],
    "powerpc64le-linux": ["@platforms//cpu:ppc64le", "@platforms//os:linux"],
    "riscv64-linux": ["@platforms//cpu:riscv64", "@platforms//os:linux"],
    "s390x-linux": ["@platforms//cpu:s390x", "@platforms//os:linux"],
    "x86_64-linux": ["@platforms//cpu:x86_64", "@platforms//os:linux"],
}
