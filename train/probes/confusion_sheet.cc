// Names to the left and above, cells in shades of blue.
#include "train/probes/confusion_sheet.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "data/draw.h"
#include "engine/error.h"

namespace tessera {
namespace {

constexpr int kMargin = 8;
constexpr int kMostLetters = 24;  // of a name
constexpr int64_t kMostCounted = 30, kMostNamed = 120;
constexpr Color kGrid = {225, 225, 225};

// White for 0, dark blue for 1; the square root lifts small shares, of which mistakes are made.
Color shade(double share) {
  const double s = std::sqrt(share);
  const auto mix = [s](int dark) { return static_cast<uint8_t>(255 + s * (dark - 255) + 0.5); };
  return {mix(12), mix(58), mix(120)};
}

std::string_view cut(const std::string& name) {
  return std::string_view(name).substr(0, kMostLetters);
}

}  // namespace

Image confusion_sheet(const Classification& result, const std::vector<std::string>& names) {
  const int64_t classes = result.classes;
  TESSERA_CHECK(std::ssize(names) == classes && classes > 0,
                "[confusion_sheet] {} names for {} classes", names.size(), classes);
  const bool named = classes <= kMostNamed, counted = classes <= kMostCounted;
  const int cell = counted ? 40 : named ? 12 : 4;
  int longest = 0;
  if (named) {
    for (const std::string& name : names) longest = std::max(longest, text_width(cut(name)));
  }
  const int left = kMargin + longest + kMargin, top = left;
  const int side = static_cast<int>(classes) * cell;
  Image sheet = blank_picture(left + side + kMargin, top + side + kMargin, kWhite);
  fill_rectangle(sheet, left, top, side, side, kGrid);
  const std::vector<ClassScores> rows = result.by_class();
  for (int64_t truth = 0; truth < classes; ++truth) {
    const int y = top + static_cast<int>(truth) * cell;
    const int along = left + static_cast<int>(truth) * cell;  // this class as an answer
    const int middle = (cell - kLetterHeight) / 2;
    if (named) {
      const std::string_view name = cut(names[static_cast<size_t>(truth)]);
      draw_text(sheet, left - kMargin / 2 - text_width(name), y + middle, name, kInk);
      draw_text_upwards(sheet, along + middle, top - kMargin / 2 - text_width(name), name, kInk);
    }
    const auto pictures = static_cast<double>(rows[static_cast<size_t>(truth)].pictures);
    for (int64_t answer = 0; answer < classes; ++answer) {
      const int x = left + static_cast<int>(answer) * cell;
      const int64_t count = result.count(truth, answer);
      const double share = pictures > 0 ? static_cast<double>(count) / pictures : 0;
      const int line = counted ? 1 : 0;  // of the grid
      fill_rectangle(sheet, x + line, y + line, cell - line, cell - line, shade(share));
      if (!counted || count == 0) continue;
      const std::string text = std::to_string(count);
      draw_text(sheet, x + (cell - text_width(text)) / 2, y + middle, text,
                share > 0.3 ? kWhite : kInk);
    }
  }
  return sheet;
}

}  // namespace tessera
