// The table put together, and the names that must be in it.
#include "tests/ops/table.h"

#include <regex>
#include <set>
#include <sstream>

namespace tessera::ops_test {

Input normal(const Shape& shape, double mean, double deviation) {
  return {shape, Fill::kNormal, mean, deviation};
}
Input uniform(const Shape& shape, double low, double high) {
  return {shape, Fill::kUniform, low, high};
}
Input distinct(const Shape& shape) { return {shape, Fill::kDistinct}; }
Input levels(const Shape& shape, int64_t low, int64_t high) {
  return {shape, Fill::kLevels, static_cast<double>(low), static_cast<double>(high), false};
}
Input index_below(const Shape& shape, int64_t n) {
  return {shape, Fill::kIndex, 0, static_cast<double>(n), false};
}
Input booleans(const Shape& shape) { return {shape, Fill::kBool, 0, 1, false}; }
Input constant(Input input) {
  input.differentiable = false;
  return input;
}

Tensor f32(const Shape& shape) { return Tensor::zeros(shape, DType::kF32); }
Tensor f64(const Shape& shape) { return Tensor::zeros(shape, DType::kF64); }
Tensor i64(const Shape& shape, int64_t value) {
  return Tensor::full(shape, static_cast<double>(value), DType::kI64);
}
Tensor boolean(const Shape& shape) { return Tensor::zeros(shape, DType::kBool); }

const std::vector<Row>& table() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> all;
    for (auto* family : {elementwise_rows, view_rows, assemble_rows, reduce_rows, product_rows,
                         picture_rows, norm_rows, loss_rows, index_rows}) {
      for (Row& row : family()) all.push_back(std::move(row));
    }
    return all;
  }();
  return rows;
}

std::vector<std::string> declared_functions(const std::string& functions_h,
                                            const std::string& elementwise_h) {
  std::set<std::string> names;
  // A declaration starts its line with its result; `operator+` and the macros' bodies do not match.
  static const std::regex kDeclaration(
      R"(^(?:std::vector<Tensor>|Tensor|BatchStatistics|NormedSum) (\w+)\()");
  static const std::regex kEntry(R"(^\s+X\(\w+, (\w+)[,)])");
  static const std::regex kOneLineEntry(R"(^#define TESSERA_UNARY_OPS_\d\(X\) X\(\w+, (\w+),)");
  for (const auto& [text, patterns] :
       {std::pair{&functions_h, std::vector{&kDeclaration}},
        std::pair{&elementwise_h, std::vector{&kEntry, &kOneLineEntry}}}) {
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      for (const std::regex* pattern : patterns) {
        std::smatch match;
        if (std::regex_search(line, match, *pattern)) names.insert(match[1]);
      }
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace tessera::ops_test
