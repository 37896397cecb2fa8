// Pieces of SVG pictures, for pages and curves.
// Rule: every text is escaped here, colours come from kSvgPalette's variables alone, so that a
// picture follows the reader's choice of light or dark. Lengths are in the picture's own units.
#pragma once

#include <string>

namespace tessera {

// Declares --page, --ink, --soft, --line and --c0 to --c5 for light and dark; CSS.
extern const char kSvgPalette[];
// How text and the classes soft, grid and limit look inside an svg element; CSS.
extern const char kSvgStyle[];
inline constexpr int kSvgColours = 6;

// For element content and quoted attributes.
std::string svg_escaped(const std::string& text);

// "var(--c2)"; more things than colours begin again.
std::string svg_colour(size_t place);

std::string svg_line(double x0, double y0, double x1, double y1, const char* style);

// anchor: start, middle or end.
std::string svg_label(double x, double y, const char* anchor, const std::string& text,
                      const char* style = "");

}  // namespace tessera
