// The op table, mode by mode, on default_device(): the CPU, unless the program was linked with
// another. Every failure names op, case, layout and dtype.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <set>

#include "engine/backend.h"
#include "tests/ops/check.h"
#include "tests/ops/guard_backend.h"

namespace tessera::ops_test {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class Check>
void each_case(const std::vector<Row>& rows, Check check) {
  for (const Row& row : rows) {
    for (const Case& c : row.cases) {
      const Faults faults = check(c);
      for (const std::string& fault : faults) FAIL_CHECK("[" << row.op << "] " << fault);
      CHECK(faults.empty());
    }
  }
}

TEST_CASE("every function of functions.h has a row, and every row a function") {
  const std::vector<std::string> declared =
      declared_functions(text_of("autograd/functions.h"), text_of("engine/elementwise.h"));
  CHECK(declared.size() > 70);
  std::set<std::string> rows;
  for (const Row& row : table()) {
    CHECK_FALSE(row.cases.empty());
    if (!rows.insert(row.op).second) FAIL_CHECK("two rows for " << row.op);
  }
  for (const std::string& name : declared) {
    if (!rows.contains(name)) FAIL_CHECK("no row in the op table for " << name);
  }
  for (const std::string& name : rows) {
    if (std::find(declared.begin(), declared.end(), name) == declared.end()) {
      FAIL_CHECK("functions.h declares no " << name);
    }
  }
}

TEST_CASE("a declaration that is added is noticed") {
  const std::string functions =
      "Tensor mish(const Tensor& x);\nstd::vector<Tensor> chunk(const Tensor& x);\n"
      "inline Tensor operator+(const Tensor& a, const Tensor& b);\n";
  const std::string elementwise =
      "#define TESSERA_UNARY_OPS(X)        \\\n  X(Exp, exp, kOutput)              \\\n  X(Cos, "
      "cos, kInput)\n\n#define TESSERA_UNARY_OPS_2(X) X(Clamp, clamp, kInput)\n"
      "#define TESSERA_COMPARE_OPS(X)      \\\n  X(Equal, equal) \\\n";
  CHECK(declared_functions(functions, elementwise) ==
        std::vector<std::string>{"chunk", "clamp", "cos", "equal", "exp", "mish"});
}

TEST_CASE("values") {
  each_case(table(), [](const Case& c) { return check_values(c, default_device()); });
}

TEST_CASE("gradients") {
  each_case(table(), [](const Case& c) { return check_gradients(c, default_device()); });
}

TEST_CASE("autocast") {
  each_case(table(), [](const Case& c) { return check_autocast(c, default_device()); });
}

TEST_CASE("bits do not depend on layout or threads") {
  each_case(table(), [](const Case& c) { return check_bits(c, default_device()); });
}

TEST_CASE("bits of large shapes do not depend on layout or threads") {
  each_case(large_rows(), [](const Case& c) { return check_large_bits(c, default_device()); });
}

TEST_CASE("large shapes: f32 agrees with f64") {
  each_case(large_rows(), [](const Case& c) { return check_against_f64(c, default_device()); });
}

TEST_CASE("no kernel leaves its buffers") { each_case(table(), check_guards); }

TEST_CASE("refusals") {
  for (const Row& row : table()) {
    const Faults faults = check_refusals(row);
    for (const std::string& fault : faults) FAIL_CHECK("[" << row.op << "] " << fault);
    CHECK(faults.empty());
  }
}

}  // namespace
}  // namespace tessera::ops_test

int main(int argc, char** argv) {
  tessera::ops_test::install_guard_device(tessera::default_device());
  return Catch::Session().run(argc, argv);
}
