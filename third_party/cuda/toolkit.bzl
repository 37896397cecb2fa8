"""The CUDA toolkit of this machine as the repository @cuda, or an empty one that says it is not there.

The rule never fails: a plain build needs no toolkit. It looks at $CUDA_HOME, then /usr/local/cuda.
"""

_FOUND = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "headers",
    hdrs = glob(["include/*.h", "include/*.hpp", "include/crt/*"]),
    includes = ["include"],
)

cc_library(
    name = "runtime",
    linkopts = ["-L{home}/lib64", "-lcudart_static", "-ldl", "-lrt", "-lpthread"],
    deps = [":headers"],
)

# The toolkit's folder is where the program looks for it.
cc_library(
    name = "blas",
    linkopts = ["-L{home}/lib64", "-lcublasLt", "-Wl,-rpath,{home}/lib64"],
    deps = [":headers"],
)
"""

_ABSENT = """
package(default_visibility = ["//visibility:public"])

cc_library(name = "headers")

cc_library(name = "runtime")

cc_library(name = "blas")
"""

def _toolkit_impl(ctx):
    home = ctx.os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    nvcc = ctx.path(home + "/bin/nvcc")
    version = ""
    if nvcc.exists:
        # "... release 13.0, V13.0.88": part of every compile command, so that another toolkit in the
        # same place compiles anew.
        answer = ctx.execute([nvcc, "--version"])
        if answer.return_code == 0 and ", V" in answer.stdout:
            version = answer.stdout.split(", V")[1].split("\n")[0].strip()
    if version:
        ctx.symlink(home + "/include", "include")
    ctx.file("BUILD", (_FOUND if version else _ABSENT).replace("{home}", home))
    ctx.file("toolkit.bzl", "\n".join([
        '"""Where the CUDA toolkit is, and its version; both empty when there is none."""',
        'CUDA_HOME = "%s"' % (home if version else ""),
        'CUDA_VERSION = "%s"' % version,
        "",
    ]))

cuda_toolkit = repository_rule(
    implementation = _toolkit_impl,
    environ = ["CUDA_HOME"],
    configure = True,
    local = True,
)
