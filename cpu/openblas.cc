// Finds the library's two functions by name.
// Rule: local symbols only: OpenBLAS brings a whole BLAS, which must not answer anybody else's
// calls.
#include "cpu/openblas.h"

#include <dlfcn.h>
#include <stdlib.h>

namespace tessera::cpu {
namespace {

template <class Function>
void find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
}

// The kernels it should take, unless the user chose. By itself a release takes SSE kernels on any
// processor that is newer: 65 instead of 310 GFLOP/s for 0.3.21 on two cores of an Emerald Rapids.
void choose_kernels() {
  const char* kernels = __builtin_cpu_supports("avx512bf16") ? "Cooperlake"
                        : __builtin_cpu_supports("avx512vl") ? "SkylakeX"
                                                             : "Haswell";
  ::setenv("OPENBLAS_CORETYPE", kernels, 0);
}

}  // namespace

const OpenBlas* openblas() {
  static const OpenBlas* const found = []() -> const OpenBlas* {
    choose_kernels();
    void* library = ::dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return nullptr;
    static OpenBlas functions;
    find(library, "cblas_sgemm", &functions.sgemm);
    find(library, "openblas_set_num_threads", &functions.set_num_threads);
    return functions.sgemm == nullptr ? nullptr : &functions;
  }();
  return found;
}

}  // namespace tessera::cpu
