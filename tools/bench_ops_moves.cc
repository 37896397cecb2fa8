// Rows that a copy bounds: elementwise, moves, reductions, indexing, and the trainer's kernels.
#include <memory>

#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tools/bench_ops_table.h"

namespace tessera {
namespace {

using namespace vit;
using Tensors = std::vector<Tensor>;

constexpr int64_t kIndexBytes = 8;

}  // namespace

void add_elementwise_rows(OpRows* rows) {
  // One operand: the hidden layer of the decoder's MLP, the largest tensor of a step.
  const Shape hidden = {rows->batch, kTokens, kHidden};
  const int64_t n = numel_of(hidden);
  const auto unary = [&](const char* name, Saves saves, OpCall run) {
    const int64_t back = saves == Saves::kNothing ? 2 * n : 3 * n;
    rows->add(name, {leaf(hidden)}, rows->work(n, 2 * n), rows->work(n, back), std::move(run));
  };
#define TESSERA_UNARY_ROW(Name, name, saves) \
  unary(#name, Saves::saves, [](const Tensors& in) { return name(in[0]); });
#define TESSERA_UNARY_ROW_1(Name, name, saves) \
  unary(#name, Saves::saves, [](const Tensors& in) { return name(in[0], 1.5); });
#define TESSERA_UNARY_ROW_2(Name, name, saves) \
  unary(#name, Saves::saves, [](const Tensors& in) { return name(in[0], 0.75, 1.25); });
  TESSERA_UNARY_OPS(TESSERA_UNARY_ROW)
  TESSERA_UNARY_OPS_1(TESSERA_UNARY_ROW_1)
  TESSERA_UNARY_OPS_2(TESSERA_UNARY_ROW_2)
#undef TESSERA_UNARY_ROW
#undef TESSERA_UNARY_ROW_1
#undef TESSERA_UNARY_ROW_2

  rows->add("bias_gelu", {leaf(hidden), leaf({kHidden})}, rows->work(2.0 * n, 2 * n),
            rows->work(2.0 * n, 3 * n), [](const Tensors& in) { return bias_gelu(in[0], in[1]); });

  // Two operands: the residual stream. An addition's gradient passes through uncopied.
  const Shape tokens = {rows->batch, kTokens, kNarrow};
  const int64_t t = numel_of(tokens);
  const auto binary = [&](const std::string& name, Saves saves, OpCall run) {
    const Work back = rows->work(2.0 * t, saves == Saves::kNothing ? 3 * t : 5 * t);
    rows->add(name, {leaf(tokens), leaf(tokens)}, rows->work(t, 3 * t),
              name == "add" ? kNoWork : back, std::move(run));
  };
#define TESSERA_BINARY_ROW(Name, name, saves) \
  binary(#name, Saves::saves, [](const Tensors& in) { return name(in[0], in[1]); });
#define TESSERA_COMPARE_ROW(Name, name)                                            \
  rows->add(#name, {data(tokens), data(tokens)}, rows->work(t, 2 * t, t), kNoWork, \
            [](const Tensors& in) { return name(in[0], in[1]); });
  TESSERA_BINARY_OPS(TESSERA_BINARY_ROW)
  TESSERA_COMPARE_OPS(TESSERA_COMPARE_ROW)
#undef TESSERA_BINARY_ROW
#undef TESSERA_COMPARE_ROW

  rows->add("where", {mask(tokens), leaf(tokens), leaf(tokens)}, rows->work(t, 3 * t, t),
            rows->work(2.0 * t, 3 * t, t),
            [](const Tensors& in) { return where(in[0], in[1], in[2]); });
  const DType other = rows->dtype == DType::kF32 ? DType::kBF16 : DType::kF32;
  const Work conversion = rows->work(n, n, n * static_cast<int64_t>(size_of(other)));
  rows->add("to", {leaf(hidden)}, conversion, conversion,
            [other](const Tensors& in) { return to(in[0], other); });
}

void add_move_rows(OpRows* rows) {
  const Shape hidden = {rows->batch, kTokens, kHidden}, tokens = {rows->batch, kTokens, kNarrow};
  const int64_t h = numel_of(hidden), t = numel_of(tokens);
  rows->add("fill", {data(hidden)}, rows->move(h), kNoWork, [](const Tensors& in) {
    raw::fill_(in[0], 1);
    return in[0];
  });
  rows->add("copy", {data(hidden), data(hidden)}, rows->move(2 * h), kNoWork,
            [](const Tensors& in) {
              raw::copy_(in[0], in[1]);
              return in[0];
            });
  // Heads first, as attention would want them if it did not take strides.
  rows->add("contiguous", {data({rows->batch, kTokens, kNarrowHeads, kNarrow / kNarrowHeads})},
            rows->move(2 * t), kNoWork, [](const Tensors& in) {
              return raw::contiguous(raw::permute(in[0], {0, 2, 1, 3}));
            });
  rows->add("roll", {leaf(tokens)}, rows->move(2 * t), rows->move(2 * t),
            [](const Tensors& in) { return roll(in[0], 1, 1); });
  rows->add("cat", {leaf({rows->batch, 1, kNarrow}), leaf({rows->batch, kPatches, kNarrow})},
            rows->move(2 * t), rows->move(2 * t), [](const Tensors& in) { return cat(in, 1); });
  rows->add("stack", {leaf(tokens), leaf(tokens)}, rows->move(4 * t), rows->move(4 * t),
            [](const Tensors& in) { return stack(in, 1); });
  const Shape map = {rows->batch, 64, 56, 56};
  const int64_t m = numel_of(map), padded = rows->batch * 64 * 58 * 58;
  rows->add("pad2d", {leaf(map)}, rows->move(m + padded), rows->move(2 * m),
            [](const Tensors& in) { return pad2d(in[0], 1, 1, 1, 1); });
  const Shape pictures = {rows->batch, 3, 224, 224};
  const Work pixels = rows->move(2 * numel_of(pictures));
  rows->add("unfold_patches", {leaf(pictures)}, pixels, pixels,
            [](const Tensors& in) { return unfold_patches(in[0], 16); });
  rows->add("fold_patches", {leaf({rows->batch, kPatches, kWidth})}, pixels, pixels,
            [](const Tensors& in) { return fold_patches(in[0], 16, 224, 224); });
}

void add_reduction_rows(OpRows* rows) {
  const Shape hidden = {rows->batch, kTokens, kHidden}, tokens = {rows->batch, kTokens, kNarrow};
  const Shape logits = {rows->batch * kMasked, kVocabulary};
  const int64_t h = numel_of(hidden), t = numel_of(tokens), l = numel_of(logits);
  rows->add("sum", {leaf(hidden)}, rows->work(h, h), rows->move(h),
            [](const Tensors& in) { return sum(in[0]); });
  // A bias's gradient.
  rows->add("sum", {leaf({rows->batch * kTokens, kHidden})}, rows->work(h, h), rows->move(h),
            [](const Tensors& in) { return sum(in[0], {0}); });
  rows->add("mean", {leaf(tokens)}, rows->work(t, t), rows->work(t, t),
            [](const Tensors& in) { return mean(in[0], {1}); });
  rows->add("var", {leaf(tokens)}, rows->work(3.0 * t, t), rows->work(2.0 * t, 2 * t),
            [](const Tensors& in) { return var(in[0], {-1}, true); });
  rows->add("amax", {leaf(tokens)}, rows->work(t, t), rows->work(t, 2 * t),
            [](const Tensors& in) { return amax(in[0], {-1}); });
  rows->add("argmax", {data(logits)}, rows->work(l, l), kNoWork,
            [](const Tensors& in) { return argmax(in[0], 1); });
  const int64_t noise = rows->batch * kPatches;  // a step's masks
  rows->add("argsort", {data({rows->batch, kPatches})},
            rows->work(noise, noise, noise * kIndexBytes), kNoWork,
            [](const Tensors& in) { return argsort(in[0], 1); });
  rows->add("cumsum", {leaf(tokens)}, rows->work(t, 2 * t), rows->work(t, 2 * t),
            [](const Tensors& in) { return cumsum(in[0], 1); });
}

void add_index_rows(OpRows* rows) {
  const int64_t b = rows->batch;
  const Shape tokens = {b, kTokens, kNarrow}, removed = {b, kRemoved, kNarrow};
  const int64_t t = numel_of(tokens), r = numel_of(removed), index = r * kIndexBytes;
  rows->add("gather", {leaf(tokens), indices(removed, kTokens)}, rows->work(0, 2 * r, index),
            rows->work(r, r + t, index), [](const Tensors& in) { return gather(in[0], 1, in[1]); });
  rows->add("scatter_add", {data(tokens), indices(removed, kTokens), leaf(removed)},
            rows->work(r, 2 * t + r, index), rows->work(0, 2 * r, index),
            [](const Tensors& in) { return scatter_add(in[0], 1, in[1], in[2]); });
  rows->add("take_rows", {leaf(tokens), indices({b, kRemoved}, kTokens)}, rows->move(2 * r),
            rows->work(r, r + t), [](const Tensors& in) { return take_rows(in[0], in[1]); });
  rows->add("patch_vectors", {data({b, 3, 224, 224}), indices({b, kVisible}, kPatches)},
            rows->move(2 * b * kVisible * kWidth), kNoWork,
            [](const Tensors& in) { return patch_vectors(in[0], 16, in[1]); });
  // The decoder's tokens: 50 rows of a picture, the mask token for the others.
  const int64_t v = b * kVisible * kNarrow;
  rows->add("place_tokens",
            {leaf({b, kVisible, kNarrow}), leaf({kNarrow}), data({kTokens, kNarrow}),
             indices({b, kTokens}, kVisible + 1)},
            rows->work(t, v + t), rows->work(t, v + t),
            [](const Tensors& in) { return place_tokens(in[0], in[1], in[3], in[2], {}); });
  const int64_t all = b * kPatches * kWidth, some = b * kMasked * kWidth;
  rows->add("index_select", {leaf({b * kPatches, kWidth}), indices({b * kMasked}, b * kPatches)},
            rows->move(2 * some), rows->work(some, some + all),
            [](const Tensors& in) { return index_select(in[0], 0, in[1]); });
  rows->add("embedding", {leaf({kVocabulary, kWidth}), indices({b, kPatches}, kVocabulary)},
            rows->move(2 * all), rows->work(all, all + kVocabulary * kWidth),
            [](const Tensors& in) { return embedding(in[0], in[1]); });
  rows->add("masked_select_rows", {leaf({b, kPatches, kWidth}), mask({b, kPatches})},
            rows->move(2 * some), rows->work(some, some + all),
            [](const Tensors& in) { return masked_select_rows(in[0], in[1]); });
}

// Random numbers, and the optimizer on its arenas: f32 whatever the precision, half a million
// parameters for each picture (17 million at 32 pictures).
void add_training_rows(OpRows* rows) {
  const Shape tokens = {rows->batch, kTokens, kNarrow};
  const int64_t t = numel_of(tokens), n = rows->batch << 19;
  constexpr RandomKey kKey = {1, 2, 3};
  constexpr double kDropped = 0.1;
  const Device device = rows->device;
  rows->add("dropout", {leaf(tokens)}, rows->work(t, 2 * t), rows->work(t, 2 * t),
            [=](const Tensors& in) { return dropout(in[0], kDropped, kKey); });
  rows->add("drop_path", {leaf(tokens)}, rows->work(t, 2 * t), rows->work(t, 2 * t),
            [=](const Tensors& in) { return drop_path(in[0], kDropped, kKey); });
  const auto f32 = [](double flops, int64_t elements) { return Work{flops, 4.0 * elements}; };
  rows->add("uniform", {}, f32(t, t), kNoWork,
            [=](const Tensors&) { return raw::uniform(tokens, kKey, 0, 1, DType::kF32, device); });
  rows->add("normal", {}, f32(t, t), kNoWork,
            [=](const Tensors&) { return raw::normal(tokens, kKey, 0, 1, DType::kF32, device); });

  const auto arenas = std::make_shared<std::vector<Tensor>>();  // shared, made at their first use
  const auto arena = [=](size_t i) {
    while (arenas->size() <= i) {
      arenas->push_back(raw::uniform({n}, kKey, 0.5, 1.5, DType::kF32, device));
    }
    return (*arenas)[i];
  };
  const auto plain = [=](const auto& value) {
    return raw::from_bytes(std::as_bytes(std::span(&value, 1)), device);
  };
  const auto segments = std::make_shared<Tensor>(), state = std::make_shared<Tensor>();
  rows->add("adamw", {}, f32(12.0 * n, 7 * n), kNoWork, [=](const Tensors&) {
    if (!state->defined()) {
      *segments = plain(AdamWSegment{0, n, 0.05f, 1.0f});
      *state = plain(StepState{.lr = 1e-6, .correction1 = 0.1, .correction2 = 0.001});
    }
    AdamWArgs args;
    args.param = arena(0).view();
    args.grad = arena(1).view();
    args.exp_avg = arena(2).view();
    args.exp_avg_sq = arena(3).view();
    args.segments = static_cast<const AdamWSegment*>(segments->view().data);
    args.segment_count = 1;
    args.state = static_cast<const StepState*>(state->view().data);
    arena(0).backend().adamw(args);
    return arena(0);
  });
  rows->add("sum_squares", {}, f32(2.0 * n, n), kNoWork,
            [=](const Tensors&) { return raw::sum_squares(arena(1)); });
  rows->add("first_nonfinite", {}, f32(n, n), kNoWork, [=](const Tensors&) {
    raw::first_nonfinite(arena(1));
    return arena(1);
  });
}

}  // namespace tessera
