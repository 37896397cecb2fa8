// Printing tensors for people: rows aligned, long dimensions shortened to both their ends.
#include <algorithm>
#include <cmath>

#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int64_t kEdge = 3;     // elements shown at each end of a long dimension
constexpr int64_t kLongest = 8;  // a dimension up to this length is shown whole

std::string number(double value, bool whole) {
  if (whole && std::isfinite(value)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.4g}", value);
}

class Printer {
 public:
  Printer(const Tensor& t, DType dtype)
      : shape_(t.shape()), strides_(contiguous_strides(t.shape())) {
    const Tensor wide = raw::to(raw::to(t.detach(), Device::kCpu), DType::kF64);
    values_ = wide.to_vector<double>();
    const bool whole = !is_floating(dtype);
    for (double v : values_) text_.push_back(number(v, whole));
    for (const std::string& s : text_) width_ = std::max(width_, s.size());
  }

  std::string block(int dim, int64_t at, int indent) const {
    if (dim == shape_.size()) {
      const std::string& s = text_[static_cast<size_t>(at)];
      return std::string(width_ - s.size(), ' ') + s;
    }
    const bool last = dim == shape_.size() - 1;
    const int64_t n = shape_[dim];
    std::string out = "[";
    for (int64_t i = 0; i < n; ++i) {
      if (i > 0) out += last ? "  " : "\n" + std::string(static_cast<size_t>(indent) + 1, ' ');
      if (n > kLongest && i == kEdge) {
        out += "...";
        i = n - kEdge - 1;
        continue;
      }
      out += block(dim + 1, at + i * strides_[dim], indent + 1);
    }
    return out + "]";
  }

 private:
  Shape shape_;
  Strides strides_;
  std::vector<double> values_;
  std::vector<std::string> text_;
  size_t width_ = 0;
};

}  // namespace

std::string to_string(const Tensor& t) {
  if (!t.defined()) return "undefined tensor";
  const std::string head =
      fmt::format("{}{}", describe(t), t.device() == Device::kCpu ? "" : " on cuda");
  if (t.numel() == 0) return head + " []";
  return head + (t.ndim() < 2 ? " " : "\n") + Printer(t, t.dtype()).block(0, 0, 0);
}

}  // namespace tessera
