// The rooms of the tree and who may include what: the architecture's table as data, and its check.
// Rule: works on (path, text) pairs alone, so that a test can plant a violation; it reads no files.
#pragma once

#include <string>
#include <vector>

namespace tessera::structure {

struct SourceFile {
  std::string path;  // relative to the root, "nn/linear.cc"
  std::string text;
};

// One line for each breach of the table, "nn/linear.cc:12: nn may not include cpu/gemm.h"; empty
// when the files keep to it. An include in quotes must name one of `files` by its path from the
// root.
std::vector<std::string> include_violations(const std::vector<SourceFile>& files);

}  // namespace tessera::structure
