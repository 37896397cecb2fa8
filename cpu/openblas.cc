// Finds the library's two functions by name.
// Rule: local symbols only: OpenBLAS brings a whole BLAS, which must not answer anybody else's
// calls.
#include "cpu/openblas.h"

#include <dlfcn.h>

namespace tessera::cpu {
namespace {

template <class Function>
void find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
}

}  // namespace

const OpenBlas* openblas() {
  static const OpenBlas* const found = []() -> const OpenBlas* {
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
