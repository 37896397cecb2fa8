// The figures of runs over their length, as one SVG picture: a panel a figure.
// Rule: what a panel shows is what metrics.jsonl holds: means of neighbouring records, no other
// smoothing, axes that are not cut.
#pragma once

#include <string>
#include <vector>

#include "train/metrics.h"

namespace tessera {

struct RunCurve {
  std::string name;  // runs of one name (seeds of one recipe) share a colour; empty: not named
  std::vector<MetricRecord> records;
};

// What there is to draw, in the order of first appearance, without what describes the run and not
// its result: epoch, lr, grad_norm, loss_scale, images_per_s.
std::vector<std::string> curve_figures(const std::vector<RunCurve>& runs);

// A panel for each of `figures`, over epochs, or over steps where a run has no epochs. At a curve's
// end stands the value that is drawn there; of several runs of one name the mean, with their
// standard deviation.
// UsageError for a figure that no run has, and for none at all.
std::string curves_svg(const std::vector<RunCurve>& runs, const std::vector<std::string>& figures);

// FOLDER/curves.svg of what FOLDER/metrics.jsonl holds; nothing while no step was logged.
void draw_curves(const std::string& folder);

}  // namespace tessera
