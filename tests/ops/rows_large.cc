// Shapes of real models, larger than one chunk of any kernel: ViT products with 17 and 197 tokens,
// rows and elementwise work that several threads share, odd sizes that leave tails everywhere.
// Rule: no references here; f32 is compared with f64 and every thread count and layout with the
// rest.
#include <cmath>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

Case large(const std::string& label, std::vector<Input> inputs,
           std::function<Tensor(const Tensors&)> call) {
  return {.label = label, .inputs = std::move(inputs), .call = std::move(call), .reference = {}};
}

Case product(const Shape& a, const Shape& b) {
  return large(fmt::format("{} x {}", a, b), {normal(a), normal(b)},
               [](const Tensors& in) { return matmul(in[0], in[1]); });
}

Case affine(const Shape& x, int64_t out) {
  return large(fmt::format("{} to {}", x, out), {normal(x), normal({out, x.back()}), normal({out})},
               [](const Tensors& in) { return linear(in[0], in[1], in[2]); });
}

Case heads(const Shape& q, bool bias) {
  const double scale = 1 / std::sqrt(static_cast<double>(q[3]));
  Case c = large(fmt::format("{}{}", q, bias ? " biased" : ""), {normal(q), normal(q), normal(q)},
                 [=](const Tensors& in) {
                   return attention(in[0], in[1], in[2], bias ? in[3] : Tensor(), scale);
                 });
  if (bias) c.inputs.push_back(normal({q[1], q[2], q[2]}));
  return c;
}

}  // namespace

std::vector<Row> large_rows() {
  std::vector<Row> rows;
  const auto put = [&](const std::string& op, std::vector<Case> cases) {
    rows.push_back({op, std::move(cases), {}});
  };
  put("matmul",
      {product({400, 768}, {768, 2304}), product({197, 192}, {192, 576}),
       product({17, 32}, {32, 96}), product({6, 197, 64}, {6, 64, 197}),
       product({1, 2000}, {2000, 3}), product({2000}, {2000, 70}), product({129, 65}, {65, 33})});
  put("linear", {affine({4, 197, 192}, 768), affine({8, 17, 192}, 576), affine({3, 64, 48}, 10),
                 affine({2, 50, 768}, 768)});
  put("attention",
      {heads({2, 3, 197, 64}, false), heads({4, 3, 17, 64}, true), heads({2, 4, 65, 24}, false)});
  put("layer_norm",
      {large("(4, 197, 192)", {normal({4, 197, 192}), normal({192}), normal({192})},
             [](const Tensors& in) { return layer_norm(in[0], in[1], in[2], 1e-6); }),
       large("(3, 333, 37)", {normal({3, 333, 37}), normal({37}), normal({37})},
             [](const Tensors& in) { return layer_norm(in[0], in[1], in[2], 1e-6); })});
  put("add_layer_norm",
      {large("(4, 197, 192)",
             {normal({4, 197, 192}), normal({4, 197, 192}), normal({192}), normal({192})},
             [](const Tensors& in) {
               const NormedSum s = add_layer_norm(in[0], in[1], in[2], in[3], 1e-6);
               return s.sum * s.normed;
             })});
  put("bias_gelu", {large("(4, 197, 768)", {normal({4, 197, 768}), normal({768})},
                          [](const Tensors& in) { return bias_gelu(in[0], in[1]); })});
  const auto unary = [](const Shape& shape, Tensor (*f)(const Tensor&)) {
    return large(to_string(shape), {normal(shape)}, [f](const Tensors& in) { return f(in[0]); });
  };
  put("gelu", {unary({4, 197, 768}, gelu), unary({100003}, gelu)});
  put("exp", {unary({7, 111, 131}, exp)});
  put("add", {large("(8, 197, 192) + (197, 192)", {normal({8, 197, 192}), normal({197, 192})},
                    [](const Tensors& in) { return in[0] + in[1]; })});
  put("mul", {large("(3, 1, 700) * (500, 1)", {normal({3, 1, 700}), normal({500, 1})},
                    [](const Tensors& in) { return mul(in[0], in[1]); })});
  const auto reduce = [](const Shape& shape, const Dims& dims) {
    return large(fmt::format("{} over {}", shape, dims), {normal(shape)},
                 [dims](const Tensors& in) { return sum(in[0], dims); });
  };
  put("sum", {reduce({64, 197, 48}, {}), reduce({64, 197, 48}, {0, 1}), reduce({64, 197, 48}, {2}),
              reduce({64, 197, 48}, {1}), reduce({300001}, {0})});
  put("mean", {large("(64, 197, 48)", {normal({64, 197, 48})},
                     [](const Tensors& in) { return mean(in[0]); })});
  put("softmax", {large("(6, 197, 197)", {normal({6, 197, 197})},
                        [](const Tensors& in) { return softmax(in[0], -1); }),
                  large("(50, 197, 7) in 1", {normal({50, 197, 7})},
                        [](const Tensors& in) { return softmax(in[0], 1); })});
  put("cross_entropy", {large("(500, 1000)", {normal({500, 1000}), index_below({500}, 1000)},
                              [](const Tensors& in) { return cross_entropy(in[0], in[1], 0.1); })});
  put("take_rows",
      {large("(16, 196, 192) by 49", {normal({16, 196, 192}), index_below({16, 49}, 196)},
             [](const Tensors& in) { return take_rows(in[0], in[1]); })});
  put("embedding", {large("(900, 96) by (40, 50)", {normal({900, 96}), index_below({40, 50}, 900)},
                          [](const Tensors& in) { return embedding(in[0], in[1]); })});
  put("patch_vectors", {large("(4, 3, 224, 224), 49 patches of 16",
                              {constant(normal({4, 3, 224, 224})), index_below({4, 49}, 196)},
                              [](const Tensors& in) { return patch_vectors(in[0], 16, in[1]); })});
  put("place_tokens",
      {large("(16, 50, 192) among 197",
             {normal({16, 50, 192}), normal({192}), normal({197, 192}), index_below({16, 197}, 51)},
             [](const Tensors& in) { return place_tokens(in[0], in[1], in[3], in[2], {}); })});
  put("patch_loss",
      {large(
          "(4, 147, 768)",
          {normal({4, 147, 768}), constant(normal({4, 3, 224, 224})), index_below({4, 147}, 196)},
          [](const Tensors& in) { return patch_loss(in[0], in[1], in[2], 16, true); })});
  put("scatter_add",
      {large("(30, 4000) twice",
             {normal({30, 4000}), index_below({30, 8000}, 4000), normal({30, 8000})},
             [](const Tensors& in) { return scatter_add(in[0], 1, in[1], in[2]); })});
  put("cumsum", {large("(40, 333, 20)", {normal({40, 333, 20})},
                       [](const Tensors& in) { return cumsum(in[0], 1); })});
  put("conv2d", {large("(4, 3, 64, 64) patches of 8",
                       {normal({4, 3, 64, 64}), normal({48, 3, 8, 8}), normal({48})},
                       [](const Tensors& in) { return conv2d(in[0], in[1], in[2], 8); }),
                 large("(2, 16, 33, 35) by 3 x 3",
                       {normal({2, 16, 33, 35}), normal({24, 16, 3, 3}), normal({24})},
                       [](const Tensors& in) { return conv2d(in[0], in[1], in[2], 1, 1); })});
  put("batch_norm_train",
      {large("(16, 24, 20, 20)", {normal({16, 24, 20, 20}), normal({24}), normal({24})},
             [](const Tensors& in) { return batch_norm_train(in[0], in[1], in[2], 1e-5); })});
  put("unfold_patches", {large("(8, 3, 96, 96)", {normal({8, 3, 96, 96})},
                               [](const Tensors& in) { return unfold_patches(in[0], 16); })});
  put("dropout", {large("(100, 1003)", {normal({100, 1003})}, [](const Tensors& in) {
        return dropout(in[0], 0.3, RandomKey{3, 1, 1024});
      })});
  // Samples that no task ends with.
  put("drop_path", {large("(9, 7, 1003)", {normal({9, 7, 1003})}, [](const Tensors& in) {
        return drop_path(in[0], 0.5, RandomKey{3, 1, 1024});
      })});
  put("argsort", {large("(300, 400)", {constant(normal({300, 400}))},
                        [](const Tensors& in) { return argsort(in[0], 1); })});
  return rows;
}

}  // namespace tessera::ops_test
