// Every CUDA kernel by name, as the backend calls it; contracts are those of engine/backend.h.
// Rule: a call queues work on stream() and returns, unless it gives the host an answer.
#pragma once

#include "engine/backend.h"

namespace tessera::cuda {

// unary.cu, unary_backward.cu, binary.cu, binary_backward.cu, copy.cu
void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y);
void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy, const View& dx);
void scale_by(const View& by, double factor, const View& x);
void binary(BinaryOp op, const View& a, const View& b, const View& y);
void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy, const View& da,
                     const View& db);
void compare(CompareOp op, const View& a, const View& b, const View& y);
void where(const View& condition, const View& a, const View& b, const View& y);
void copy(const View& src, const View& dst);
void fill(const View& dst, double value);

// reduce.cu, order.cu, argsort.cu
void reduce(ReduceOp op, const View& x, const View& y);
void argmax(const View& x, const View& y);
void cumsum(const View& x, const View& y);
void argsort(const View& x, const View& y);
int64_t first_nonfinite(const View& x);

// gemm.cu: what the vendor's library (vendor.h) is held against.
void gemm(const GemmArgs& args);

// conv.cu: what the vendor's library is held against, as gemm.
void conv2d(const ConvArgs& args);
void conv2d_dx(const ConvArgs& args);
void conv2d_dw(const ConvArgs& args);

// attention.cu, attention_mma.cu, attention_mma_backward.cu: by tiles, on tensor cores, what
// takes_tiles(), and by rows the rest; whoever compares the two calls them by name.
void attention(const AttentionArgs& args);
void attention_backward(const AttentionBackwardArgs& args);
bool takes_tiles(const AttentionArgs& args);  // 16 bits, heads of up to 128, not too many rows
void attention_by_tiles(const AttentionArgs& args);
void attention_by_tiles_backward(const AttentionBackwardArgs& args);
void attention_by_rows(const AttentionArgs& args);
void attention_by_rows_backward(const AttentionBackwardArgs& args);

// softmax.cu, layer_norm.cu, bias_gelu.cu, patch_loss.cu, cross_entropy.cu
void softmax(const View& x, const View& y);
void softmax_backward(const View& y, const View& dy, const View& dx);
void log_softmax(const View& x, const View& y);
void log_softmax_backward(const View& y, const View& dy, const View& dx);
void layer_norm(const LayerNormArgs& args);
void layer_norm_backward(const LayerNormBackwardArgs& args);
void bias_gelu(const View& x, const View& b, const View& y);
void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                        const View& db);
void patch_loss(const PatchLossArgs& args);
void cross_entropy(const CrossEntropyArgs& args);

// index.cu, patches.cu, place_tokens.cu
void gather(const View& x, const View& index, const View& y);
void scatter_add(const View& s, const View& index, const View& x);
void patches(const PatchesArgs& args);
void place_tokens(const PlaceTokensArgs& args);
void place_tokens_backward(const PlaceTokensArgs& args);
bool index_in_range(const View& index, int64_t n);

// random.cu
void uniform(RandomKey key, const View& y);
void normal(RandomKey key, const View& y);
void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y);

// pictures.cu
void pictures(const PictureArgs& args);

// adamw.cu
void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                StepState* state);
void adamw(const AdamWArgs& args);

}  // namespace tessera::cuda
