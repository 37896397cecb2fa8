// The pages under docs/ and the README agree with the tree: what they quote stands there, what they
// name exists, what they show a program printing is what it prints.
// Rule: reads the source tree itself (beside the real WORKSPACE file), never a copy that may be
// old.
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "tests/structure/include_graph.h"

namespace fs = std::filesystem;

namespace {

using Lines = std::vector<std::string>;

// Bazel starts a test in a folder of links; the link to WORKSPACE leads to the tree.
fs::path root() { return fs::canonical("WORKSPACE").parent_path(); }

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Without the blanks at both ends: a quotation may be indented otherwise than its source.
std::string trimmed(const std::string& line) {
  const size_t first = line.find_first_not_of(' ');
  return first == line.npos ? "" : line.substr(first, line.find_last_not_of(' ') - first + 1);
}

std::map<std::string, std::string> pages() {
  std::map<std::string, std::string> found = {{"README.md", text_of(root() / "README.md")}};
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root() / "docs")) {
    if (entry.path().extension() != ".md") continue;
    found[fs::relative(entry.path(), root()).string()] = text_of(entry.path());
  }
  return found;
}

// A fenced block: the words after the fence ("cpp engine/raw.h") and what it holds.
struct Block {
  std::string page, language, source;
  Lines lines;
};

std::vector<Block> blocks_of(const std::string& page, const std::string& text) {
  std::vector<Block> blocks;
  bool inside = false;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (!inside) continue;
      std::istringstream words(line.substr(3));
      Block block{page, "", "", {}};
      words >> block.language >> block.source;
      blocks.push_back(block);
    } else if (inside) {
      blocks.back().lines.push_back(line);
    }
  }
  return blocks;
}

// Whether the quoted lines stand in the source in this order; a line "..." skips some, everything
// between two of them is contiguous. The first line that is not there, or "".
std::string missing_line(const Lines& quoted, const Lines& source) {
  size_t at = 0;
  bool anywhere = true;
  for (const std::string& line : quoted) {
    if (trimmed(line) == "...") {
      anywhere = true;
      continue;
    }
    const auto same = [&](const std::string& s) { return trimmed(s) == trimmed(line); };
    if (anywhere) {
      const auto found = std::find_if(source.begin() + static_cast<long>(at), source.end(), same);
      at = static_cast<size_t>(found - source.begin());
    }
    if (at >= source.size() || !same(source[at])) return line;
    ++at;
    anywhere = false;
  }
  return "";
}

std::string output_of(const std::string& program) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(program.c_str(), "r"), pclose);
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;) {
    text.append(buffer.data(), n);
  }
  return text;
}

}  // namespace

TEST_CASE("what the pages quote stands in the files they name") {
  int quotations = 0;
  for (const auto& [page, text] : pages()) {
    for (const Block& block : blocks_of(page, text)) {
      if (block.language != "cpp" || block.source.empty()) continue;
      const fs::path source = root() / block.source;
      if (!fs::is_regular_file(source)) {
        FAIL_CHECK(page << " quotes " << block.source << ", which does not exist");
        continue;
      }
      const std::string missing = missing_line(block.lines, lines_of(text_of(source)));
      if (!missing.empty()) {
        FAIL_CHECK(page << " quotes from " << block.source << ": " << missing);
      }
      ++quotations;
    }
  }
  CHECK(quotations > 10);  // else the blocks were not found
}

TEST_CASE("a quotation that drifted is seen") {
  const Lines source = {"int a;", "  int b;", "int c;", "int d;"};
  CHECK(missing_line({"int a;", "int b;"}, source) == "");
  CHECK(missing_line({"int a;", "...", "int d;"}, source) == "");
  CHECK(missing_line({"int a;", "int c;"}, source) == "int c;");
  CHECK(missing_line({"int d;", "...", "int a;"}, source) == "int a;");
  CHECK(missing_line({"int e;"}, source) == "int e;");
}

TEST_CASE("what the pages show a program printing is what it prints") {
  std::set<std::string> shown;
  for (const auto& [page, text] : pages()) {
    for (const Block& block : blocks_of(page, text)) {
      if (block.language != "text" || !block.source.starts_with("docs/examples/")) continue;
      shown.insert(block.source);
      INFO(page << " shows the output of " << block.source);
      CHECK(lines_of(output_of(block.source)) == block.lines);
    }
  }
  CHECK(shown.contains("docs/examples/first_gradient"));
}

TEST_CASE("the example of a model learns") {
  CHECK(std::system("docs/examples/fit_a_curve > /dev/null") == 0);
}

TEST_CASE("links and paths on the pages lead somewhere") {
  static const std::regex kLink(R"(\]\(([^)#:]+)[^)]*\))");
  // `engine/raw.h`: a file of ours by its path from the root, in backticks.
  static const std::regex kPath(
      R"(`((?:engine|autograd|cpu|nn|models|data|train|tools|tests|docs)/[\w/.-]+\.(?:h|cc|md|sh|py))`)");
  for (const auto& [page, text] : pages()) {
    const fs::path folder = (root() / page).parent_path();
    for (std::sregex_iterator it(text.begin(), text.end(), kLink), end; it != end; ++it) {
      if (!fs::exists(folder / it->str(1))) FAIL_CHECK(page << " links to " << it->str(1));
    }
    for (std::sregex_iterator it(text.begin(), text.end(), kPath), end; it != end; ++it) {
      if (!fs::exists(root() / it->str(1))) FAIL_CHECK(page << " names " << it->str(1));
    }
  }
}

TEST_CASE("the table of rooms in docs/architecture.md is the one that is enforced") {
  using tessera::structure::include_violations;
  static const std::regex kRow(R"(^\| `(\w+)/` \|.*\| ([^|]*) \|$)");
  static const std::regex kRoom(R"(`(\w+)`)");
  std::map<std::string, std::set<std::string>> table;
  for (const std::string& line : lines_of(text_of(root() / "docs/architecture.md"))) {
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) continue;
    const std::string allowed = row[2];
    std::set<std::string>& rooms = table[row[1]];
    for (std::sregex_iterator it(allowed.begin(), allowed.end(), kRoom), end; it != end; ++it) {
      rooms.insert(it->str(1));
    }
  }
  REQUIRE(table.size() >= 10);
  for (const auto& [from, allowed] : table) {
    for (const auto& [target, unused] : table) {
      if (from == target) continue;
      INFO(from << " including " << target);
      const bool enforced =
          include_violations(
              {{target + "/b.h", ""}, {from + "/a.cc", "#include \"" + target + "/b.h\"\n"}})
              .empty();
      CHECK(enforced == allowed.contains(target));
    }
  }
}
