// The tree as it stands keeps to the architecture's table, a planted breach is seen, and the seeded
// mistakes still fit it.
// Rule: reads the source tree itself (beside the real WORKSPACE file), never a copy that may be
// old.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/structure/include_graph.h"

namespace fs = std::filesystem;
using tessera::structure::include_violations;
using tessera::structure::SourceFile;

namespace {

// Bazel starts a test in a folder of links; the link to WORKSPACE leads to the tree.
fs::path root() { return fs::canonical("WORKSPACE").parent_path(); }

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool is_source(const fs::path& path) {
  const std::string ending = path.extension();
  return ending == ".h" || ending == ".cc" || ending == ".cu" || ending == ".cuh" ||
         ending == ".inc";
}

// Every source file of the tree; Bazel's own links and hidden folders do not belong to it.
std::vector<SourceFile> read_tree() {
  std::vector<SourceFile> files;
  for (const fs::directory_entry& room : fs::directory_iterator(root())) {
    const bool hidden = room.path().filename().string().starts_with(".");
    if (!room.is_directory() || room.is_symlink() || hidden) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(room)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      files.push_back({fs::relative(entry.path(), root()), text_of(entry.path())});
    }
  }
  return files;
}

// The only complaint about a tree in which `from` holds `include`.
std::string complaint(const std::string& from, const std::string& include) {
  const std::vector<SourceFile> tree = {
      {"engine/tensor.h", ""}, {"cpu/gemm.h", ""},    {"autograd/node.h", ""},
      {"nn/linear.h", ""},     {"models/mae.h", ""},  {"data/image.h", ""},
      {"train/recipe.h", ""},  {"tests/guard.h", ""}, {from, "// A comment.\n" + include + "\n"}};
  const std::vector<std::string> found = include_violations(tree);
  REQUIRE(found.size() <= 1);
  return found.empty() ? "" : found[0];
}

}  // namespace

TEST_CASE("the tree keeps to the table of rooms") {
  const std::vector<SourceFile> tree = read_tree();
  REQUIRE(tree.size() > 3);  // else the tree was not found
  for (const std::string& violation : include_violations(tree)) FAIL_CHECK(violation);
}

TEST_CASE("a planted breach of the table is seen") {
  CHECK(complaint("engine/a.cc", "#include \"autograd/node.h\"") ==
        "engine/a.cc:2: engine may not include autograd/node.h");
  CHECK(complaint("nn/a.cc", "#include \"cpu/gemm.h\"") != "");
  CHECK(complaint("tools/a.cc", "#include \"cpu/gemm.h\"") != "");
  CHECK(complaint("data/a.cc", "  #  include \"models/mae.h\"") != "");
  CHECK(complaint("models/a.cc", "#include \"train/recipe.h\"") != "");
  CHECK(complaint("models/a.cc", "#include \"data/image.h\"") != "");
  CHECK(complaint("nn/a.cc", "#include \"tests/guard.h\"") != "");
  CHECK(complaint("nn/a.cc", "#include \"linear.h\"") != "");
  CHECK(complaint("nn/a.cc", "#include <nn/linear.h>") != "");
  CHECK(complaint("autograd/a.h", "#include <Eigen/Core>") != "");
  CHECK(complaint("tests/a.cc", "#include <dnnl.hpp>") != "");
  CHECK(complaint("cpu/a.cc", "#include <cuda_runtime.h>") != "");
  CHECK(complaint("cpu/a.cc", "#include <dlfcn.h>") != "");
  CHECK(complaint("engine/a.cc", "#include <fstream>") != "");
  CHECK(complaint("cpu/a.cc", "#include <fstream>") != "");
  CHECK(complaint("nn/a.cc", "#include <catch2/catch.hpp>") != "");
  CHECK(complaint("attic/a.cc", "") != "");
}

TEST_CASE("what the table allows raises no complaint") {
  CHECK(complaint("cpu/a.cc", "#include <Eigen/Core>") == "");
  CHECK(complaint("cpu/a.cc", "#include \"engine/tensor.h\"") == "");
  CHECK(complaint("train/a.cc", "#include \"data/image.h\"") == "");
  CHECK(complaint("nn/linear_test.cc", "#include \"tests/guard.h\"") == "");
  CHECK(complaint("nn/linear_test.cc", "#include <catch2/catch.hpp>") == "");
  CHECK(complaint("tests/a.cc", "#include \"cpu/gemm.h\"") == "");
  CHECK(complaint("data/a.cc", "#include <fstream>") == "");
}

TEST_CASE("a file opens with a comment that says what it is") {
  for (const SourceFile& file : read_tree()) {
    if (!file.text.starts_with("// ")) FAIL_CHECK(file.path << " does not open with a comment");
  }
}

TEST_CASE("every seeded mistake finds its line once and changes it") {
  const auto mutants = nlohmann::json::parse(text_of(root() / "tests/mutants/mutants.json"));
  REQUIRE(mutants.size() > 30);
  for (const auto& mutant : mutants) {
    INFO(mutant["name"]);
    const std::string line = mutant["old"], text = text_of(root() / std::string(mutant["file"]));
    const size_t at = text.find(line);
    CHECK(at != text.npos);
    CHECK((at == text.npos || text.find(line, at + 1) == text.npos));
    CHECK(mutant["new"] != line);
    // A piece of an expression cannot end the statement that it is in.
    const std::string changed = mutant["new"];
    const bool inside = std::string(";{}\n").find(line.back()) == std::string::npos;
    CHECK_FALSE((inside && changed.ends_with(';')));
  }
}
