// One pass over the text with a stack of open elements.
#include "tests/tools/well_formed.h"

#include <regex>
#include <vector>

namespace tessera {
namespace {

// The first '&' that begins no known entity.
bool has_loose_ampersand(const std::string& text) {
  static const std::regex kLoose("&(?!(amp|lt|gt|quot);)");
  return std::regex_search(text, kLoose);
}

}  // namespace

std::string markup_fault(const std::string& page) {
  static const std::regex kTag(R"re((/?)([a-zA-Z][a-zA-Z0-9]*)((\s+[\w-]+="[^"<>]*")*)\s*(/?))re");
  std::vector<std::string> open;
  size_t at = 0;
  const std::string type = "<!DOCTYPE html>";
  if (page.starts_with(type)) at = type.size();
  while (at < page.size()) {
    const size_t begin = page.find('<', at);
    const std::string text = page.substr(at, begin == page.npos ? begin : begin - at);
    const bool style = !open.empty() && open.back() == "style";
    if (!style && (has_loose_ampersand(text) || text.find('>') != text.npos)) {
      return "not escaped: " + text;
    }
    if (open.empty() && text.find_first_not_of(" \n") != text.npos) return "outside: " + text;
    if (begin == page.npos) break;
    const size_t end = page.find('>', begin);
    if (end == page.npos) return "no end: " + page.substr(begin);
    const std::string inside = page.substr(begin + 1, end - begin - 1);
    std::smatch tag;
    if (!std::regex_match(inside, tag, kTag) || has_loose_ampersand(inside)) {
      return "no tag: " + inside;
    }
    const std::string name = tag[2];
    if (tag[1] == "/") {
      if (open.empty() || open.back() != name) return "closes what is not open: " + inside;
      open.pop_back();
    } else if (tag[5] != "/") {
      open.push_back(name);
    }
    at = end + 1;
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

}  // namespace tessera
