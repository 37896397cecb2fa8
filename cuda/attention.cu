// Attention, forward and backward.
#include "cuda/kernels.h"
#include "engine/error.h"

namespace tessera::cuda {

void attention(const AttentionArgs&) { throw Error("[attention] is not implemented on cuda"); }
void attention_backward(const AttentionBackwardArgs&) {
  throw Error("[attention_backward] is not implemented on cuda");
}

}  // namespace tessera::cuda
