// Sorts and aligns; the figures come from train/reconstruction.h.
#include "tools/scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

std::string table_of(const ReconstructionScores& scores) {
  std::vector<std::pair<std::string_view, double>> rows = {{"model", scores.model},
                                                           {"harmonic fill", scores.harmonic},
                                                           {"bilinear fill", scores.bilinear},
                                                           {"nearest fill", scores.nearest},
                                                           {"mean fill", scores.mean}};
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text = "PSNR over the hidden pixels, dB (more is better)\n";
  for (const auto& [name, psnr] : rows) {
    text += fmt::format("  {:13} {:6.2f}", name, psnr);
    if (name != "model") text += fmt::format("   the model is {:+.2f}", scores.model - psnr);
    text += '\n';
  }
  return text;
}

}  // namespace tessera
