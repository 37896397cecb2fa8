// Rows of whole layers: products, attention, convolutions, resampling, norms, losses.
#include "autograd/functions.h"
#include "tools/bench_ops_table.h"

namespace tessera {
namespace {

using namespace vit;
using Tensors = std::vector<Tensor>;

// Backward is two products of forward's size, for x and for w.
void add_linear(OpRows* rows, int64_t count, int64_t in, int64_t out) {
  const double flops = 2.0 * double(count) * double(in) * double(out);
  const int64_t x = count * in, w = out * in, y = count * out;
  rows->add("linear", {leaf({count, in}), leaf({out, in}), leaf({out})},
            rows->work(flops, x + w + out + y), rows->work(2 * flops, y + 2 * x + 2 * w + out),
            [](const Tensors& t) { return linear(t[0], t[1], t[2]); });
}

// Two products forward, four backward; scores that backward computes again are not counted, as is
// the custom.
void add_attention(OpRows* rows, int64_t heads, int64_t tokens, int64_t width, bool with_bias) {
  const Shape shape = {rows->batch, heads, tokens, width / heads};
  const int64_t n = numel_of(shape), table = with_bias ? heads * tokens * tokens : 0;
  const double flops = 4.0 * double(n) * double(tokens);
  std::vector<OpInput> inputs = {leaf(shape), leaf(shape), leaf(shape)};
  if (with_bias) inputs.push_back(leaf({heads, tokens, tokens}));
  rows->add("attention", inputs, rows->work(flops, 4 * n + table),
            rows->work(2 * flops, 8 * n + 2 * table), [with_bias](const Tensors& in) {
              return attention(in[0], in[1], in[2], with_bias ? in[3] : Tensor(), 0.125);
            });
}

}  // namespace

void add_product_rows(OpRows* rows) {
  const int64_t b = rows->batch;
  add_linear(rows, b * kVisible, kWidth, 4 * kWidth);    // the encoder's fc1
  add_linear(rows, b * kTokens, kNarrow, kHidden);       // the decoder's
  add_linear(rows, b * kMasked, kWidth, kVocabulary);    // BEiT's head
  add_attention(rows, kHeads, kVisible, kWidth, false);  // MAE's encoder
  add_attention(rows, kNarrowHeads, kTokens, kNarrow, false);
  add_attention(rows, kHeads, kTokens, kWidth, true);  // BEiT
  // The scores of small heads.
  const int64_t d = kWidth / kHeads;
  const Shape q = {b, kHeads, kVisible, d}, k = {b, kHeads, d, kVisible};
  const int64_t side = numel_of(q), scores = b * kHeads * kVisible * kVisible;
  const double flops = 2.0 * double(scores) * double(d);
  rows->add("matmul", {leaf(q), leaf(k)}, rows->work(flops, 2 * side + scores),
            rows->work(2 * flops, 4 * side + scores),
            [](const Tensors& in) { return matmul(in[0], in[1]); });
}

void add_picture_rows(OpRows* rows) {
  const int64_t b = rows->batch;
  const Shape map = {b, 64, 56, 56}, halved = {b, 64, 28, 28};
  const Shape kernel = {64, 64, 3, 3}, grown = {64, 64, 4, 4};
  const int64_t m = numel_of(map), h = numel_of(halved);
  const int64_t w = numel_of(kernel), g = numel_of(grown);
  const double flops = 2.0 * double(m) * 64 * 9;
  rows->add("conv2d", {leaf(map), leaf(kernel), leaf({64})}, rows->work(flops, 2 * m + w),
            rows->work(2 * flops, 3 * m + 2 * w),
            [](const Tensors& in) { return conv2d(in[0], in[1], in[2], 1, 1); });
  const double up = 2.0 * double(h) * 64 * 16;
  rows->add("conv_transpose2d", {leaf(halved), leaf(grown), leaf({64})}, rows->work(up, h + m + g),
            rows->work(2 * up, m + 2 * h + 2 * g),
            [](const Tensors& in) { return conv_transpose2d(in[0], in[1], in[2], 2, 1); });

  const Shape source = {b, 3, 256, 256};
  const int64_t s = numel_of(source), resized = b * 3 * 224 * 224;
  rows->add("interpolate", {leaf(source)}, rows->work(s, s + resized), rows->work(s, s + resized),
            [](const Tensors& in) {
              return interpolate(in[0], 224, 224, InterpolateMode::kBicubic, false, true);
            });
  const Work pooling = rows->work(m, m + h);
  rows->add("adaptive_avg_pool2d", {leaf(map)}, pooling, pooling,
            [](const Tensors& in) { return adaptive_avg_pool2d(in[0], 28, 28); });
  rows->add("avg_pool2d", {leaf(map)}, pooling, pooling,
            [](const Tensors& in) { return avg_pool2d(in[0], 2, 2); });
  rows->add("max_pool2d", {leaf(map)}, pooling, pooling,
            [](const Tensors& in) { return max_pool2d(in[0], 2, 2); });
}

void add_norm_rows(OpRows* rows) {
  const int64_t b = rows->batch;
  const Shape tokens = {b, kTokens, kNarrow}, map = {b, 64, 56, 56};
  const int64_t t = numel_of(tokens), m = numel_of(map);
  rows->add("layer_norm", {leaf(tokens), leaf({kNarrow}), leaf({kNarrow})},
            rows->work(8.0 * t, 2 * t), rows->work(11.0 * t, 3 * t),
            [](const Tensors& in) { return layer_norm(in[0], in[1], in[2], 1e-6); });
  // Backward of the norm's result alone.
  rows->add("add_layer_norm", {leaf(tokens), leaf(tokens), leaf({kNarrow}), leaf({kNarrow})},
            rows->work(9.0 * t, 4 * t), rows->work(11.0 * t, 3 * t), [](const Tensors& in) {
              return add_layer_norm(in[0], in[1], in[2], in[3], 1e-6).normed;
            });
  rows->add("batch_norm_train", {leaf(map), leaf({64}), leaf({64})}, rows->work(8.0 * m, 2 * m),
            rows->work(11.0 * m, 3 * m),
            [](const Tensors& in) { return batch_norm_train(in[0], in[1], in[2], 1e-5); });
  rows->add("group_norm", {leaf(map), leaf({64}), leaf({64})}, rows->work(8.0 * m, 2 * m),
            rows->work(11.0 * m, 3 * m),
            [](const Tensors& in) { return group_norm(in[0], 8, in[1], in[2], 1e-5); });
  const Shape scores = {b, kNarrowHeads, kTokens, kTokens}, logits = {b * kMasked, kVocabulary};
  const int64_t s = numel_of(scores), l = numel_of(logits);
  rows->add("softmax", {leaf(scores)}, rows->work(5.0 * s, 2 * s), rows->work(4.0 * s, 3 * s),
            [](const Tensors& in) { return softmax(in[0], -1); });
  rows->add("log_softmax", {leaf(logits)}, rows->work(5.0 * l, 2 * l), rows->work(4.0 * l, 3 * l),
            [](const Tensors& in) { return log_softmax(in[0], -1); });
}

// A target wants no gradient. Labels are eight bytes a row: nothing beside a row's logits.
void add_loss_rows(OpRows* rows) {
  const int64_t b = rows->batch;
  const Shape logits = {b * kMasked, kVocabulary}, classes = {b, 1000};
  const Shape pixels = {b, kRemoved, kWidth};
  const int64_t l = numel_of(logits), c = numel_of(classes), p = numel_of(pixels);
  rows->add("cross_entropy", {leaf(logits), indices({b * kMasked}, kVocabulary)},
            rows->work(6.0 * l, 2 * l), rows->work(l, 2 * l),
            [](const Tensors& in) { return cross_entropy(in[0], in[1]); });
  rows->add("soft_cross_entropy", {leaf(classes), data(classes)}, rows->work(6.0 * c, 2 * c),
            rows->work(4.0 * c, 3 * c),
            [](const Tensors& in) { return soft_cross_entropy(in[0], in[1]); });
  rows->add("mse_loss", {leaf(pixels), data(pixels)}, rows->work(3.0 * p, 2 * p),
            rows->work(2.0 * p, 3 * p), [](const Tensors& in) { return mse_loss(in[0], in[1]); });
  rows->add("patch_loss", {leaf(pixels), data({b, 3, 224, 224}), indices({b, kRemoved}, kPatches)},
            rows->work(3.0 * p, 3 * p), rows->work(2.0 * p, 2 * p),
            [](const Tensors& in) { return patch_loss(in[0], in[1], in[2], 16, false); });
  rows->add("smooth_l1_loss", {leaf(pixels), data(pixels)}, rows->work(4.0 * p, 2 * p),
            rows->work(3.0 * p, 3 * p),
            [](const Tensors& in) { return smooth_l1_loss(in[0], in[1]); });
  rows->add("kl_div_log_target_batchmean", {leaf(logits), data(logits)}, rows->work(4.0 * l, 2 * l),
            rows->work(2.0 * l, 2 * l),
            [](const Tensors& in) { return kl_div_log_target_batchmean(in[0], in[1]); });
}

}  // namespace tessera
