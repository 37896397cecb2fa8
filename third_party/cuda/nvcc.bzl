"""cuda_objects: compiles .cu files with nvcc, one object each, for the srcs of a cc_library."""

load("@cuda//:toolkit.bzl", "CUDA_HOME", "CUDA_VERSION")

# Machine code for A100 and its like and for H100/H200, and PTX for what comes after them.
_ARCHITECTURES = [
    "arch=compute_80,code=sm_80",
    "arch=compute_90a,code=sm_90a",
    "arch=compute_90,code=compute_90",
]

def _cuda_objects_impl(ctx):
    if not CUDA_HOME:
        fail("%s needs the CUDA toolkit: there is no nvcc in /usr/local/cuda; set CUDA_HOME" % ctx.label)
    headers = []
    for dep in ctx.attr.deps:
        headers.append(dep[CcInfo].compilation_context.headers)
    inputs = depset(ctx.files.hdrs, transitive = headers)
    objects = []
    for source in ctx.files.srcs:
        object = ctx.actions.declare_file("nvcc/" + source.basename.replace(".cu", ".o"))
        arguments = ctx.actions.args()
        for architecture in _ARCHITECTURES:
            arguments.add("-gencode", architecture)
        arguments.add_all([
            "-std=c++20",
            "-O3",
            "-I.",
            "-DTESSERA_NVCC_VERSION=" + CUDA_VERSION,
            # fmt 9 takes nvcc for a compiler without constexpr.
            "-DFMT_USE_CONSTEXPR=1",
            # constexpr functions of engine/ (Philox, bf16) run in kernels as they are.
            "--expt-relaxed-constexpr",
            # As on the CPU: a multiply and an add are fused where a kernel says fma, else not.
            "--fmad=false",
            "-Xcompiler",
            "-march=x86-64-v3,-ffp-contract=off,-fno-math-errno,-Wall,-Wextra",
            "-c",
            source.path,
            "-o",
            object.path,
        ])
        ctx.actions.run(
            executable = CUDA_HOME + "/bin/nvcc",
            arguments = [arguments],
            inputs = depset([source], transitive = [inputs]),
            outputs = [object],
            mnemonic = "Nvcc",
            progress_message = "Compiling %s with nvcc" % source.short_path,
            use_default_shell_env = True,
        )
        objects.append(object)
    return [DefaultInfo(files = depset(objects))]

cuda_objects = rule(
    implementation = _cuda_objects_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu"]),
        "hdrs": attr.label_list(allow_files = [".h", ".cuh"]),
        "deps": attr.label_list(providers = [CcInfo]),
    },
)
