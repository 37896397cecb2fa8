// The architecture's table: rooms, what each may include of ours, and where foreign headers belong.
// Rule: the table here and the one in docs/architecture.md say the same; change both or neither.
#include "tests/structure/include_graph.h"

#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace tessera::structure {
namespace {

using Rooms = std::set<std::string>;

const std::map<std::string, Rooms> kMayInclude = {
    {"engine", {}},
    {"cpu", {"engine"}},
    {"cuda", {"engine"}},
    {"autograd", {"engine"}},
    {"nn", {"autograd", "engine"}},
    {"models", {"nn", "autograd", "engine"}},
    {"data", {"engine"}},
    {"train", {"models", "nn", "autograd", "data", "engine"}},
    {"tools", {"train", "models", "nn", "autograd", "data", "engine"}},
    {"docs", {"train", "models", "nn", "autograd", "data", "engine"}},  // the examples
    {"tests", {"tools", "train", "models", "nn", "autograd", "data", "cuda", "cpu", "engine"}},
    {"third_party", {}},
};

// Foreign headers that only some rooms (or one file) may see; a header that no row names is free.
struct ForeignRule {
  const char* what;
  std::regex header;
  std::set<std::string> allowed;  // rooms or paths
};

const std::vector<ForeignRule> kForeign = {
    {"Eigen", std::regex(R"((eigen3/|unsupported/)?Eigen/.*)"), {"cpu"}},
    {"oneDNN", std::regex(R"((oneapi/)?dnnl.*)"), {"cpu"}},
    {"OpenMP", std::regex(R"(omp\.h)"), {"cpu"}},
    {"libraries at run time",
     std::regex(R"(dlfcn\.h)"),
     {"cpu/openblas.cc", "cuda/cudnn_library.cc"}},
    {"CUDA", std::regex(R"((cuda|cublas|cudnn|cufft|curand|nccl|nvrtc|nvtx).*)"), {"cuda"}},
    {"file I/O",
     std::regex(R"(fstream|filesystem|fcntl\.h|dirent\.h|sys/(stat|uio|file|sendfile)\.h)"),
     // The pool reads the kernel's account of the machine (cores, quota), no file of the user's.
     {"data", "train", "tools", "tests", "cpu/machine.cc"}},
    {"a picture format",
     std::regex(R"(jpeglib\.h|turbojpeg\.h|spng\.h|zlib\.h)"),
     {"data", "tests"}},
    {"command lines", std::regex(R"(CLI/.*)"), {"tools"}},
    {"JSON", std::regex(R"(nlohmann/.*)"), {"data", "train", "tools", "tests"}},
};

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

bool is_test(const std::string& path) {
  return path.ends_with("_test.cc") || path.ends_with("_test.cu") || room_of(path) == "tests";
}

// What is wrong with `from` including <name> or "name"; empty when nothing is.
std::string fault(const std::string& from, const std::string& name, bool quoted,
                  const std::set<std::string>& paths) {
  const std::string room = room_of(from);
  if (quoted) {
    if (!paths.contains(name)) return "\"" + name + "\" is no file of the tree, seen from its root";
    const std::string target = room_of(name);
    // A test beside the code it tests may use the shared helpers of tests/.
    const bool allowed = target == room || kMayInclude.at(room).contains(target) ||
                         (is_test(from) && target == "tests");
    return allowed ? "" : room + " may not include " + name;
  }
  if (paths.contains(name)) return "our own " + name + " must be included in quotes";
  if (name.starts_with("catch2/") && !is_test(from) && room != "third_party") {
    return "only tests may include Catch2 (" + name + ")";
  }
  for (const ForeignRule& rule : kForeign) {
    if (std::regex_match(name, rule.header) && !rule.allowed.contains(room) &&
        !rule.allowed.contains(from)) {
      return room + " may not include " + rule.what + " (" + name + ")";
    }
  }
  return "";
}

}  // namespace

std::vector<std::string> include_violations(const std::vector<SourceFile>& files) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::set<std::string> paths;
  for (const SourceFile& file : files) paths.insert(file.path);

  std::vector<std::string> violations;
  for (const SourceFile& file : files) {
    if (!kMayInclude.contains(room_of(file.path))) {
      violations.push_back(file.path + ": its folder is not in the table of rooms");
      continue;
    }
    std::istringstream lines(file.text);
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
      std::smatch match;
      if (!std::regex_search(line, match, kInclude)) continue;
      const std::string wrong = fault(file.path, match[2], match[1] == "\"", paths);
      if (!wrong.empty()) {
        violations.push_back(file.path + ":" + std::to_string(number) + ": " + wrong);
      }
    }
  }
  return violations;
}

}  // namespace tessera::structure
