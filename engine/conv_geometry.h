// The sizes of a convolution by the names that every backend's loops use.
// Rule: read off ConvArgs once, by the host; the rest is arithmetic that kernels may do, too. For
// one group, with K = channels * kh * kw rows r = (channel, ki, kj) and P output positions:
//   columns (K, P)  the pixel that tap r of the filter sees at output position p, 0 outside x
//   y (O, P) = w (O, K) columns,  columns' gradient = w^T dy,  dw = dy columns^T
#pragma once

#include <cstdint>

#include "engine/backend.h"

namespace tessera {

struct ConvGeometry {
  int64_t images, channels, height, width;  // of x, channels of one group
  int64_t filters, out_height, out_width;   // of y, filters of one group
  int64_t kernel_height, kernel_width, stride, padding, dilation, groups;

  explicit ConvGeometry(const ConvArgs& a)
      : images(a.x.shape[0]),
        channels(a.w.shape[1]),
        height(a.x.shape[2]),
        width(a.x.shape[3]),
        filters(a.w.shape[0] / a.groups),
        out_height(a.y.shape[2]),
        out_width(a.y.shape[3]),
        kernel_height(a.w.shape[2]),
        kernel_width(a.w.shape[3]),
        stride(a.stride),
        padding(a.padding),
        dilation(a.dilation),
        groups(a.groups) {}

  constexpr int64_t taps() const { return kernel_height * kernel_width; }
  constexpr int64_t depth() const { return channels * taps(); }           // K
  constexpr int64_t positions() const { return out_height * out_width; }  // P
  constexpr int64_t plane() const { return height * width; }
  // First element of a group's planes in x and y, and of its filters in w.
  constexpr int64_t x_offset(int64_t image, int64_t group) const {
    return (image * groups + group) * channels * plane();
  }
  constexpr int64_t y_offset(int64_t image, int64_t group) const {
    return (image * groups + group) * filters * positions();
  }
  constexpr int64_t w_offset(int64_t group) const { return group * filters * depth(); }
};

}  // namespace tessera
