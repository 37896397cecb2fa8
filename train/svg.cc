// The palette and four kinds of element.
#include "train/svg.h"

#include <fmt/format.h>

namespace tessera {

const char kSvgPalette[] = R"(
:root { --page: #fcfcfb; --ink: #1d1f21; --soft: #6a6e73; --line: #dcdee0; --c0: #2369b3;
  --c1: #d4791f; --c2: #2f9468; --c3: #8b5bb0; --c4: #8a8f94; --c5: #b5394d; }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181a; --ink: #e8e9ea; --soft: #9a9fa5; --line: #35383c; --c0: #5ea0e6;
    --c1: #ec9c4f; --c2: #5cbd92; --c3: #b48ad6; --c4: #7d8288; --c5: #e4788a; } }
)";

const char kSvgStyle[] = R"(
svg text { font: 11px system-ui, sans-serif; fill: var(--ink);
  paint-order: stroke; stroke: var(--page); stroke-width: 2px; }
svg .soft { fill: var(--soft); font-size: 10px; } svg .grid { stroke: var(--line); stroke-width: 1; }
svg .limit { stroke: var(--ink); stroke-width: 1.5; fill: none; }
)";

std::string svg_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string svg_colour(size_t place) { return fmt::format("var(--c{})", place % kSvgColours); }

std::string svg_line(double x0, double y0, double x1, double y1, const char* style) {
  return fmt::format("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>",
                     style, x0, y0, x1, y1);
}

std::string svg_label(double x, double y, const char* anchor, const std::string& text,
                      const char* style) {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>",
                     style, x, y, anchor, svg_escaped(text));
}

}  // namespace tessera
