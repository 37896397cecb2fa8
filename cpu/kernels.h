// Every CPU kernel by name, as the backend calls it; contracts are those of engine/backend.h.
#pragma once

#include "engine/backend.h"

namespace tessera::cpu {

// elementwise.cc, elementwise_backward.cc, copy.cc
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

// reduce.cc, order.cc
void reduce(ReduceOp op, const View& x, const View& y);
void argmax(const View& x, const View& y);
void cumsum(const View& x, const View& y);
void argsort(const View& x, const View& y);
int64_t first_nonfinite(const View& x);

// gemm.cc, gemm_libraries.cc
void gemm(const GemmArgs& args);
// gemm of bf16 by the processor's bf16 instructions, or widened: gemm takes the faster one.
void gemm_bf16(const GemmArgs& args, bool own_instructions);
std::vector<GemmImplementation> gemm_implementations();

// attention.cc
void attention(const AttentionArgs& args);
void attention_backward(const AttentionBackwardArgs& args);

// conv.cc
void conv2d(const ConvArgs& args);
void conv2d_dx(const ConvArgs& args);
void conv2d_dw(const ConvArgs& args);

// softmax.cc, layer_norm.cc, bias_gelu.cc, patch_loss.cc, cross_entropy.cc
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

// index.cc, patches.cc, place_tokens.cc
void gather(const View& x, const View& index, const View& y);
void scatter_add(const View& s, const View& index, const View& x);
void patches(const PatchesArgs& args);
void place_tokens(const PlaceTokensArgs& args);
void place_tokens_backward(const PlaceTokensArgs& args);
bool index_in_range(const View& index, int64_t n);

// random.cc
void uniform(RandomKey key, const View& y);
void normal(RandomKey key, const View& y);
void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y);

// adamw.cc
void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                StepState* state);
void adamw(const AdamWArgs& args);

}  // namespace tessera::cpu
