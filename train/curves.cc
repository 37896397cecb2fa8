// Panels in two columns; records are averaged in as many bins as a panel has room for.
#include "train/curves.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/error.h"
#include "train/files/atomic_file.h"
#include "train/svg.h"

namespace tessera {
namespace {

constexpr double kPanelWidth = 450, kPanelHeight = 240, kLegendHeight = 26;
constexpr double kLeft = 52, kRight = 372, kTop = 34, kBottom = 205;  // of a panel's frame
constexpr int kBins = 160;       // a bin every two units of the frame
constexpr size_t kDotted = 40;   // curves of so few points show each of them
constexpr double kLetters = 12;  // height of a line of text

struct Point {
  double x = 0, y = 0;
};

// One run's values of a figure.
struct Curve {
  size_t name = 0;  // its place in the list of names
  std::vector<Point> points;
};

const double* value_of(const MetricRecord& record, const std::string& figure) {
  for (const auto& [name, value] : record.values) {
    if (name == figure) return &value;
  }
  return nullptr;
}

std::vector<std::string> names_of(const std::vector<RunCurve>& runs) {
  std::vector<std::string> names;
  for (const RunCurve& run : runs) {
    if (std::find(names.begin(), names.end(), run.name) == names.end()) names.push_back(run.name);
  }
  return names;
}

bool all_have_epochs(const std::vector<RunCurve>& runs) {
  for (const RunCurve& run : runs) {
    for (const MetricRecord& record : run.records) {
      if (value_of(record, "epoch") == nullptr) return false;
    }
  }
  return true;
}

// As they are logged.
std::vector<Curve> curves_of(const std::vector<RunCurve>& runs, const std::string& figure,
                             bool epochs) {
  const std::vector<std::string> names = names_of(runs);
  std::vector<Curve> curves;
  for (const RunCurve& run : runs) {
    Curve curve;
    curve.name =
        static_cast<size_t>(std::find(names.begin(), names.end(), run.name) - names.begin());
    for (const MetricRecord& record : run.records) {
      const double* y = value_of(record, figure);
      const double x = epochs ? *value_of(record, "epoch") : static_cast<double>(record.step);
      if (y != nullptr && std::isfinite(*y)) curve.points.push_back({x, *y});
    }
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

// The means of the points in each of kBins equal parts of [0, last_x].
std::vector<Point> binned(const std::vector<Point>& points, double last_x) {
  std::map<int, std::pair<Point, int>> bins;  // sums and counts
  for (const Point& p : points) {
    auto& [sum, count] = bins[std::min(kBins - 1, static_cast<int>(p.x / last_x * kBins))];
    sum.x += p.x;
    sum.y += p.y;
    ++count;
  }
  std::vector<Point> means;
  for (const auto& [bin, entry] : bins) {
    const auto& [sum, count] = entry;
    means.push_back({sum.x / count, sum.y / count});
  }
  return means;
}

// A linear axis with ticks at 1, 2 or 5 times a power of ten.
struct Axis {
  double least, most;  // values
  double from, to;     // on the page
  double tick = 1;

  // At most `ticks` and one, at least two fifths of them.
  Axis(double least, double most, double from, double to, int ticks)
      : least(least), most(most), from(from), to(to) {
    // One value, but for what averaging it rounds: an axis around it.
    if (this->most - this->least <= 1e-9 * std::max(std::abs(least), std::abs(most))) {
      const double room = std::max(std::abs(least) / 10, 1e-3);
      this->least -= room;
      this->most += room;
    }
    const double rough = (this->most - this->least) / ticks;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    tick = 10 * power;
    for (const double step : {5.0, 2.0, 1.0}) {
      if (step * power >= rough) tick = step * power;
    }
  }
  double at(double value) const { return from + (value - least) / (most - least) * (to - from); }
  // The values to be marked.
  std::vector<double> ticks() const {
    std::vector<double> values;
    const auto first = static_cast<int64_t>(std::ceil(least / tick));
    for (int64_t k = first; double(k) * tick <= most + tick * 1e-9; ++k) {
      values.push_back(double(k) * tick);
    }
    return values;
  }
};

std::string tick_text(double value, double tick) {
  const int digits = std::clamp(static_cast<int>(-std::floor(std::log10(tick) + 1e-9)), 0, 9);
  return fmt::format("{:.{}f}", value, digits);
}

// The last values of a name's runs.
struct End {
  size_t name = 0;
  double mean = 0, deviation = 0;
  int runs = 0;
  double y = 0;  // of its label
};

std::vector<End> ends_of(const std::vector<Curve>& curves) {
  std::map<size_t, std::vector<double>> last;
  for (const Curve& curve : curves) last[curve.name].push_back(curve.points.back().y);
  std::vector<End> ends;
  for (const auto& [name, values] : last) {
    End end;
    end.name = name;
    end.runs = static_cast<int>(values.size());
    for (const double v : values) end.mean += v / end.runs;
    for (const double v : values) end.deviation += (v - end.mean) * (v - end.mean);
    if (end.runs > 1) end.deviation = std::sqrt(end.deviation / (end.runs - 1));
    ends.push_back(end);
  }
  return ends;
}

// Labels from the top down, each pushed below the one before it, all of them back into the frame.
void set_apart(std::vector<End>& ends, const Axis& y) {
  for (End& end : ends) end.y = y.at(end.mean) + 4;
  std::sort(ends.begin(), ends.end(), [](const End& a, const End& b) { return a.y < b.y; });
  double above = kTop - kLetters;
  for (End& end : ends) above = end.y = std::max(end.y, above + kLetters);
  double below = kBottom + 2 * kLetters;
  for (size_t i = ends.size(); i-- > 0;) {
    below = ends[i].y = std::min(ends[i].y, below - kLetters);
  }
}

std::string drawn(const Curve& curve, const Axis& x, const Axis& y) {
  const std::string colour = svg_colour(curve.name);
  std::string path, dots;
  for (const Point& p : curve.points) {
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x.at(p.x), y.at(p.y));
    if (curve.points.size() <= kDotted) {
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>", x.at(p.x),
                          y.at(p.y), colour);
    }
  }
  return fmt::format("<polyline class=\"curve\" stroke=\"{}\" points=\"{}\"/>{}\n", colour, path,
                     dots);
}

std::string panel(const std::string& figure, std::vector<Curve> curves, bool epochs) {
  double last_x = 0, least = HUGE_VAL, most = -HUGE_VAL;
  for (const Curve& curve : curves) {
    for (const Point& p : curve.points) last_x = std::max(last_x, p.x);
  }
  last_x = std::max(last_x, epochs ? 1e-9 : 1.0);
  for (Curve& curve : curves) {
    curve.points = binned(curve.points, last_x);
    for (const Point& p : curve.points) {
      least = std::min(least, p.y);
      most = std::max(most, p.y);
    }
  }
  const double room = (most - least) * 0.05;
  const Axis x(0, last_x, kLeft, kRight, 5), y(least - room, most + room, kBottom, kTop, 8);
  std::string body = svg_label(kLeft, kTop - 14, "start", figure);
  for (const double value : y.ticks()) {
    body += svg_line(kLeft, y.at(value), kRight, y.at(value), "grid") +
            svg_label(kLeft - 6, y.at(value) + 4, "end", tick_text(value, y.tick), "soft");
  }
  for (const double value : x.ticks()) {
    body += svg_line(x.at(value), kBottom, x.at(value), kBottom + 4, "grid") +
            svg_label(x.at(value), kBottom + 15, "middle", tick_text(value, x.tick), "soft");
  }
  body += svg_line(kLeft, kBottom, kRight, kBottom, "limit") +
          svg_label(kRight, kBottom + 28, "end", epochs ? "epochs" : "steps", "soft") + "\n";
  for (const Curve& curve : curves) body += drawn(curve, x, y);
  std::vector<End> ends = ends_of(curves);
  set_apart(ends, y);
  for (const End& end : ends) {
    std::string text = fmt::format("{:.4g}", end.mean);
    if (end.runs > 1) text += fmt::format(" ± {:.2g}", end.deviation);
    body += fmt::format("<g style=\"fill:{}\">{}</g>\n", svg_colour(end.name),
                        svg_label(kRight + 6, end.y, "start", text, "end"));
  }
  return body;
}

std::string legend(const std::vector<std::string>& names) {
  std::string body;
  double x = kLeft;
  for (size_t i = 0; i < names.size(); ++i) {
    body += fmt::format("<rect x=\"{:.1f}\" y=\"8\" width=\"10\" height=\"10\" fill=\"{}\"/>", x,
                        svg_colour(i)) +
            svg_label(x + 14, 17, "start", names[i]) + "\n";
    x += 34 + 6.5 * static_cast<double>(names[i].size());
  }
  return body;
}

}  // namespace

std::vector<std::string> curve_figures(const std::vector<RunCurve>& runs) {
  static const std::vector<std::string> kNoResult = {"epoch", "lr", "grad_norm", "loss_scale",
                                                     "images_per_s"};
  std::vector<std::string> figures;
  const auto in = [](const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (const RunCurve& run : runs) {
    for (const MetricRecord& record : run.records) {
      for (const auto& [name, value] : record.values) {
        if (!in(kNoResult, name) && !in(figures, name)) figures.push_back(name);
      }
    }
  }
  return figures;
}

std::string curves_svg(const std::vector<RunCurve>& runs, const std::vector<std::string>& figures) {
  TESSERA_CHECK_USAGE(!figures.empty(), "the runs have no figures yet");
  const bool epochs = all_have_epochs(runs);
  const std::vector<std::string> names = names_of(runs);
  const double top = names.size() > 1 || !names[0].empty() ? kLegendHeight : 0;
  std::string body = top > 0 ? legend(names) : "";
  for (size_t i = 0; i < figures.size(); ++i) {
    const std::vector<Curve> curves = curves_of(runs, figures[i], epochs);
    TESSERA_CHECK_USAGE(!curves.empty(), "there is no figure '{}'; there are {}", figures[i],
                        fmt::join(curve_figures(runs), ", "));
    body += fmt::format(
        "<g transform=\"translate({},{})\">\n{}</g>\n", static_cast<double>(i % 2) * kPanelWidth,
        top + static_cast<double>(i / 2) * kPanelHeight, panel(figures[i], curves, epochs));
  }
  const double width = (figures.size() > 1 ? 2 : 1) * kPanelWidth;
  const double height = top + static_cast<double>((figures.size() + 1) / 2) * kPanelHeight;
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\">\n<style>{2}{3}svg .curve {{ fill: none; stroke-width: 1.5; }} "
      "svg .end {{ fill: inherit; }}</style>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"var(--page)\"/>\n{4}</svg>\n",
      width, height, kSvgPalette, kSvgStyle, body);
}

void draw_curves(const std::string& folder) {
  const std::vector<RunCurve> run = {{"", read_metrics(folder + "/metrics.jsonl")}};
  const std::vector<std::string> figures = curve_figures(run);
  if (!figures.empty()) write_file_atomically(folder + "/curves.svg", curves_svg(run, figures));
}

}  // namespace tessera
