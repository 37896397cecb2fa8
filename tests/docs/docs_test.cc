// The pages under docs/ and the README agree with the tree: what they quote stands there, what they
// name exists, what they show a program printing is what it prints.
// Rule: reads the source tree itself (beside the real WORKSPACE file), never a copy that may be
// old.
#include <algorithm>
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

// Lines of a page that are neither in a fenced block nor the fence itself, without code spans.
std::string prose_of(const std::string& text) {
  static const std::regex kCode("`[^`]*`");
  std::string prose;
  bool inside = false;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with("```")) inside = !inside;
    if (!inside) prose += std::regex_replace(line, kCode, "") + "\n";
  }
  return prose;
}

// Whether the quoted lines stand in the source in this order; a line "..." skips some, everything
// between two of them is contiguous. The first line of what is not there, or "".
std::string missing_line(const Lines& quoted, const Lines& source) {
  const auto same = [](const std::string& a, const std::string& b) {
    return trimmed(a) == trimmed(b);
  };
  const auto is_gap = [](const std::string& line) { return trimmed(line) == "..."; };
  auto from = source.begin();
  for (auto part = quoted.begin(); part != quoted.end();) {
    const auto end = std::find_if(part, quoted.end(), is_gap);
    const auto found = std::search(from, source.end(), part, end, same);
    if (found == source.end() && part != end) return *part;
    from = found + (end - part);
    part = end == quoted.end() ? end : end + 1;
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
  CHECK(missing_line({"int a;", "int c;"}, source) == "int a;");
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
      R"(`((?:engine|autograd|cpu|cuda|nn|models|data|train|tools|tests|docs|third_party)/)"
      R"([\w/.-]+\.(?:h|cc|cu|cuh|bzl|md|sh|py))`)");
  for (const auto& [page, text] : pages()) {
    const fs::path folder = (root() / page).parent_path();
    const std::string prose = prose_of(text);
    for (std::sregex_iterator it(prose.begin(), prose.end(), kLink), end; it != end; ++it) {
      if (!fs::exists(folder / it->str(1))) FAIL_CHECK(page << " links to " << it->str(1));
      // The released archive holds the pages and these two, not the sources.
      const std::string target = (fs::path(page).parent_path() / it->str(1)).lexically_normal();
      INFO(page << " links to " << target);
      CHECK((target.starts_with("docs/") || target == "README.md" || target == "LICENSE"));
    }
    for (std::sregex_iterator it(text.begin(), text.end(), kPath), end; it != end; ++it) {
      if (!fs::exists(root() / it->str(1))) FAIL_CHECK(page << " names " << it->str(1));
    }
  }
}

TEST_CASE("every flag on the pages is one of the program's") {
  // `./tessera pretrain mae --data x --out y` is checked against the help of `pretrain mae`; a flag
  // in running text against all helps, the launcher itself, the script beside PyTorch and what nvcc
  // is given.
  static const std::regex kCommand(R"(\./tessera((?: [a-z]+)+)((?: (?!\./tessera|#).*)?))");
  static const std::regex kFlag(R"((--[a-z][a-z-]*))");
  std::map<std::string, std::string> help;
  const auto help_of = [&](const std::string& command) -> const std::string& {
    const auto [it, fresh] = help.try_emplace(command);
    if (fresh) it->second = output_of("tools/tessera" + command + " --help");
    return it->second;
  };
  const auto each_flag = [&](const std::string& text, const auto& check) {
    for (std::sregex_iterator it(text.begin(), text.end(), kFlag), end; it != end; ++it) {
      check(it->str(1));
    }
  };
  int commands = 0;
  for (const auto& [page, text] : pages()) {
    for (const Block& block : blocks_of(page, text)) {
      std::string script;  // with continued lines joined
      for (const std::string& line : block.lines) {
        script += line.ends_with('\\') ? line.substr(0, line.size() - 1) : line + "\n";
      }
      for (const std::string& line : lines_of(script)) {
        std::smatch command;
        if (!std::regex_search(line, command, kCommand) || command[1] == " test") continue;
        ++commands;
        each_flag(command[2], [&](const std::string& flag) {
          INFO(page << ": " << line);
          CHECK(help_of(command[1]).find(flag) != std::string::npos);
        });
      }
    }
  }
  CHECK(commands > 10);
  std::string all = text_of(root() / "tessera") +
                    text_of(root() / "tools/compare/pytorch_step.py") +
                    text_of(root() / "third_party/cuda/nvcc.bzl");
  for (const auto& [command, text] : help) all += text;
  for (const auto& [page, text] : pages()) {
    each_flag(text, [&](const std::string& flag) {
      INFO(page << " names " << flag);
      CHECK(all.find(flag) != std::string::npos);
    });
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
