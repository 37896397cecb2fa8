// Opens cuDNN once, the first time that it is wanted.
// Rule: local symbols only: what the library brings must not answer anybody else's calls.
#if __has_include(<cudnn.h>)

#include "cuda/cudnn_library.h"

#include <dlfcn.h>

#include "engine/error.h"

namespace tessera::cuda::vendor {
namespace {

struct Opened {
  Cudnn functions;
  std::string why_not;  // empty: all were found
};

Opened open_library() {
  Opened opened;
  const std::string name = fmt::format("libcudnn.so.{}", CUDNN_MAJOR);
  void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    opened.why_not = name + " is not there";
    return opened;
  }
#define TESSERA_CUDNN_FIND(function)                                                              \
  opened.functions.function =                                                                     \
      reinterpret_cast<decltype(opened.functions.function)>(::dlsym(library, "cudnn" #function)); \
  if (opened.functions.function == nullptr) opened.why_not = name + " has no cudnn" #function;
  TESSERA_CUDNN_FUNCTIONS(TESSERA_CUDNN_FIND)
#undef TESSERA_CUDNN_FIND
  return opened;
}

const Opened& opened() {
  static const Opened once = open_library();
  return once;
}

}  // namespace

const Cudnn* cudnn_library() { return opened().why_not.empty() ? &opened().functions : nullptr; }

std::string cudnn_in_words() {
  const Cudnn* library = cudnn_library();
  if (library == nullptr) return opened().why_not;
  const size_t version = library->GetVersion();  // 91900 is 9.19.0
  return fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace tessera::cuda::vendor

#endif
