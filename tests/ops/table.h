// The op table: what each function of autograd/functions.h computes, written once for every test.
// Rule: a function without a row fails the suite. A row is plain data; how it is tested (values,
// gradients, layouts, threads, guards, errors) is in check.h and the same for all.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "tests/ops/array.h"

namespace tessera::ops_test {

// How an input is filled.
enum class Fill {
  kNormal,    // mean `low`, deviation `high`
  kUniform,   // [low, high)
  kDistinct,  // a shuffled grid of step 0.25: no ties, and no kink nearer than a difference step
  kLevels,    // floating integers in [low, high): many ties
  kIndex,     // i64, [0, high)
  kBool,
};

struct Input {
  Shape shape;
  Fill fill = Fill::kNormal;
  double low = 0, high = 1;
  bool differentiable = true;  // never for kIndex and kBool

  bool floating() const { return fill != Fill::kIndex && fill != Fill::kBool; }
};

Input normal(const Shape& shape, double mean = 0, double deviation = 1);
Input uniform(const Shape& shape, double low, double high);
Input distinct(const Shape& shape);
Input levels(const Shape& shape, int64_t low, int64_t high);  // constant
Input index_below(const Shape& shape, int64_t n);
Input booleans(const Shape& shape);
Input constant(Input input);  // an input that has no gradient by definition

using Tensors = std::vector<Tensor>;
using Arrays = std::vector<Array>;

// One way to call an op. Every case goes through every mode.
struct Case {
  std::string label;
  std::vector<Input> inputs;
  std::function<Tensor(const Tensors&)> call;
  std::function<Array(const Arrays&)> reference;
  // Roundings to the storage type between inputs and result, for f16 and bf16: a composition rounds
  // once a part. 0: the op is not meant for 16-bit floats.
  int roundings = 1;
  // False where equal elements (an expanded input) put the function on a kink (the largest of
  // equals) or where it has no condition to speak of (a deviation of nothing).
  bool expandable = true;
  // What the result is stored as; empty: as the first floating input.
  std::optional<DType> result = {};
  // 16-bit floats give an f32 result, whose gradient still comes back in 16 bits.
  bool widens = false;

  DType result_of(DType input) const {
    if (result.has_value()) return *result;
    return widens && input != DType::kF64 ? DType::kF32 : input;
  }
};

// A call that must be refused; the message names the op in brackets and holds every needle.
struct Refusal {
  std::string label;
  std::function<void()> call;
  std::vector<std::string> needles;
};

struct Row {
  std::string op;
  std::vector<Case> cases;
  std::vector<Refusal> refusals;
};

// Each family of ops brings its rows.
std::vector<Row> elementwise_rows();
std::vector<Row> view_rows();
std::vector<Row> assemble_rows();
std::vector<Row> reduce_rows();
std::vector<Row> product_rows();
std::vector<Row> picture_rows();
std::vector<Row> norm_rows();
std::vector<Row> loss_rows();
std::vector<Row> index_rows();
const std::vector<Row>& table();

// Shapes that real models use and that are larger than one chunk of work: for bit-equality over
// threads and layouts, and f32 against f64. Without a reference.
std::vector<Row> large_rows();

// Names declared in functions.h, its macro tables included, from the sources' text.
std::vector<std::string> declared_functions(const std::string& functions_h,
                                            const std::string& elementwise_h);

// Empty tensors for refusals.
Tensor f32(const Shape& shape);
Tensor f64(const Shape& shape);
Tensor i64(const Shape& shape, int64_t value = 0);
Tensor boolean(const Shape& shape);

}  // namespace tessera::ops_test
