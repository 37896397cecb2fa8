// A horizontal and a vertical pass, eight sums at a time.
// Rule: integer arithmetic in the passes, exact in any order; weights: resize_weights.h.
#include "data/resize.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "data/resize_weights.h"
#include "engine/error.h"
#include "engine/picture_plan.h"
#include "engine/words.h"

namespace tessera {
namespace {

// Two taps at a time: _mm256_madd_epi16 multiplies 16-bit numbers and adds neighbours. A weight has
// 24 bits, so it is cut in two: high * 2^kLowBits + low. Both halves fit (low is below 2^11, high
// within 2^12 of 0), and their sums put together are the sum of the whole weights, modulo 2^32.
constexpr int kLowBits = 11;

// For each output position: the first input position, and the weights from there on.
struct Weights {
  int pairs = 0;                   // of taps, per output position; taps that are not used weigh 0
  std::vector<int> first;          // (outputs)
  std::vector<int32_t> high, low;  // (outputs, pairs): an even tap's half below an odd tap's
};

// Outputs come in groups of this many in the horizontal pass; weights are there for whole groups.
constexpr int kGroup = 4;

Weights weights_of(int in_size, int out_size, Interpolation interpolation) {
  const AxisWeights axis = axis_weights(in_size, out_size, interpolation);
  Weights w;
  w.first = axis.first;
  w.first.resize((out_size + kGroup - 1) / kGroup * kGroup);
  w.pairs = (axis.taps + 1) / 2;
  w.high.resize(w.first.size() * w.pairs);
  w.low.resize(w.high.size());
  for (int i = 0; i < out_size; ++i) {
    const int32_t* const taps = &axis.weights[static_cast<size_t>(i) * axis.taps];
    for (int p = 0; p < w.pairs; ++p) {
      const int32_t even = taps[2 * p], odd = 2 * p + 1 < axis.taps ? taps[2 * p + 1] : 0;
      const size_t at = static_cast<size_t>(i) * w.pairs + p;
      constexpr int32_t kLow = (1 << kLowBits) - 1;
      w.high[at] = (even >> kLowBits & 0xffff) | odd >> kLowBits << 16;
      w.low[at] = (even & kLow) | (odd & kLow) << 16;
    }
  }
  return w;
}

// work(pairs) with a constant for the usual numbers of pairs, so that loops over them are unrolled:
// 2 for enlarging, 3 and 4 for bicubic reductions up to about 1.2 and 1.7.
template <class Work>
void with_pairs(int pairs, const Work& work) {
  switch (pairs) {
    case 2:
      return work(std::integral_constant<int, 2>());
    case 3:
      return work(std::integral_constant<int, 3>());
    case 4:
      return work(std::integral_constant<int, 4>());
    default:
      return work(pairs);
  }
}

// Eight sums over taps; every pixel of a pair is a 16-bit number beside its partner.
struct Sums {
  __m256i high = _mm256_setzero_si256();
  __m256i low = _mm256_set1_epi32(1 << (kPictureBits - 1));  // rounds to the nearest

  void add(__m256i pairs, int32_t high_weights, int32_t low_weights) {
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, _mm256_set1_epi32(high_weights)));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, _mm256_set1_epi32(low_weights)));
  }
  __m256i levels() const {  // not clipped yet
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low),
                             kPictureBits);
  }
};

// Clips four vectors of 32-bit numbers to 0..255. Within each half of the register: a, b, c, d.
__m256i to_bytes(__m256i a, __m256i b, __m256i c, __m256i d) {
  return _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}

// Rows with room behind each, so that the passes can read and write whole registers.
struct Rows {
  static constexpr size_t kRegister = 32;

  int height;
  size_t row_bytes, stride;
  std::vector<uint8_t> bytes;  // (height, stride)

  Rows(int height, size_t row_bytes)
      : height(height),
        row_bytes(row_bytes),
        stride((row_bytes / kRegister + 2) * kRegister),
        bytes(stride * height) {}

  uint8_t* row(int y) { return bytes.data() + stride * y; }
  const uint8_t* row(int y) const { return bytes.data() + stride * y; }
};

const uint8_t* row_of(const Image& image, const Region& region, int y) {
  return image.row(region.top + y) + static_cast<size_t>(region.left) * image.channels;
}

Rows copy_region(const Image& image, const Region& region) {
  Rows out(region.height, static_cast<size_t>(region.width) * image.channels);
  for (int y = 0; y < region.height; ++y) {
    std::memcpy(out.row(y), row_of(image, region, y), out.row_bytes);
  }
  return out;
}

Image to_image(const Rows& rows, int channels) {
  Image out(static_cast<int>(rows.row_bytes / channels), rows.height, channels);
  for (int y = 0; y < rows.height; ++y) std::memcpy(out.row(y), rows.row(y), rows.row_bytes);
  return out;
}

// Byte shuffles of the horizontal pass, the same in both halves of the register.
struct Shuffles {
  __m256i pair;   // two pixels to 16-bit pairs: r r g g b b - -, or v v - - - - - -
  __m256i close;  // four pixels of 4 bytes each: the unused bytes go to the end
};

Shuffles shuffles_for(int channels) {
  auto both = [](__m128i half) { return _mm256_broadcastsi128_si256(half); };
  if (channels == 1) {
    return {both(_mm_setr_epi8(0, -1, 1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1)),
            both(_mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1))};
  }
  return {both(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1)),
          both(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1))};
}

// (in width) -> (out width) of two rows at a time, one in each half of the register.
template <class Pairs>
void resample_rows(const Weights& w, Pairs pairs, int channels, const Shuffles& shuffles,
                   const uint8_t* const (&in)[2], int out_width, uint8_t* const (&out)[2]) {
  const int* first = w.first.data();
  const int32_t *high = w.high.data(), *low = w.low.data();
  for (int x = 0; x < out_width; x += kGroup) {
    __m256i group[kGroup];
    for (__m256i& levels : group) {
      const int at = channels * *first++;
      Sums sums;
      for (int p = 0; p < pairs; ++p) {
        const int from = at + 2 * channels * p;
        const __m256i pixels = _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(in[1] + from),
                                                   reinterpret_cast<const __m128i*>(in[0] + from));
        sums.add(_mm256_shuffle_epi8(pixels, shuffles.pair), *high++, *low++);
      }
      levels = sums.levels();
    }
    const __m256i bytes =
        _mm256_shuffle_epi8(to_bytes(group[0], group[1], group[2], group[3]), shuffles.close);
    // 16 bytes each, 4 or 12 of them meant: the next group overwrites the rest.
    _mm256_storeu2_m128i(reinterpret_cast<__m128i*>(out[1] + channels * x),
                         reinterpret_cast<__m128i*>(out[0] + channels * x), bytes);
  }
}

// (region height, region width) -> (region height, out width)
Rows horizontal_pass(const Image& image, const Region& region, int out_width,
                     Interpolation interpolation) {
  const Weights w = weights_of(region.width, out_width, interpolation);
  const int channels = image.channels;
  const size_t in_bytes = static_cast<size_t>(channels) * region.width;
  const Shuffles shuffles = shuffles_for(channels);
  // Taps of weight 0 may lie beyond the region.
  Rows in(2, in_bytes + static_cast<size_t>(channels) * 2 * w.pairs);
  Rows out(region.height, static_cast<size_t>(channels) * out_width);
  with_pairs(w.pairs, [&](auto pairs) {
    for (int y = 0; y < region.height; y += 2) {
      const int second = std::min(y + 1, region.height - 1);  // the last one twice, if odd
      std::memcpy(in.row(0), row_of(image, region, y), in_bytes);
      std::memcpy(in.row(1), row_of(image, region, second), in_bytes);
      resample_rows(w, pairs, channels, shuffles, {in.row(0), in.row(1)}, out_width,
                    {out.row(y), out.row(second)});
    }
  });
  return out;
}

// All columns of one output row, a register at a time. taps: the input rows it is made of.
template <class Pairs>
void resample_columns(Pairs pairs, const uint8_t* const* taps, const int32_t* high,
                      const int32_t* low, size_t n, uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  for (size_t i = 0; i < n; i += Rows::kRegister) {
    Sums sums[4];
    for (int p = 0; p < pairs; ++p) {
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(taps[2 * p] + i));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(taps[2 * p + 1] + i));
      // Unpacking works within halves, and so does to_bytes: what goes apart comes together.
      const __m256i even = _mm256_unpacklo_epi8(a, b), odd = _mm256_unpackhi_epi8(a, b);
      sums[0].add(_mm256_unpacklo_epi8(even, zero), high[p], low[p]);
      sums[1].add(_mm256_unpackhi_epi8(even, zero), high[p], low[p]);
      sums[2].add(_mm256_unpacklo_epi8(odd, zero), high[p], low[p]);
      sums[3].add(_mm256_unpackhi_epi8(odd, zero), high[p], low[p]);
    }
    const __m256i bytes =
        to_bytes(sums[0].levels(), sums[1].levels(), sums[2].levels(), sums[3].levels());
    if (n - i >= Rows::kRegister) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), bytes);
    } else {
      std::memcpy(out + i, &bytes, n - i);
    }
  }
}

// (in height, width) -> (out height, width)
Image vertical_pass(const Rows& in, int channels, int out_height, Interpolation interpolation) {
  const Weights w = weights_of(in.height, out_height, interpolation);
  Image out(static_cast<int>(in.row_bytes / channels), out_height, channels);
  std::vector<const uint8_t*> taps(2 * w.pairs);
  with_pairs(w.pairs, [&](auto pairs) {
    for (int y = 0; y < out_height; ++y) {
      for (int t = 0; t < 2 * w.pairs; ++t) {
        taps[t] = in.row(std::min(w.first[y] + t, in.height - 1));
      }
      const size_t weight = static_cast<size_t>(y) * w.pairs;
      resample_columns(pairs, taps.data(), &w.high[weight], &w.low[weight], in.row_bytes,
                       out.row(y));
    }
  });
  return out;
}

// The pixel whose area holds each output's centre; positions are summed up step by step in double,
// as Pillow's affine copy does it.
Image nearest(const Image& image, const Region& region, int height, int width) {
  auto positions = [](int in_size, int out_size) {
    const double step = static_cast<double>(in_size) / out_size;
    std::vector<int> at(out_size);
    double position = step * 0.5;
    for (int& p : at) {
      p = std::min(static_cast<int>(position), in_size - 1);
      position += step;
    }
    return at;
  };
  const std::vector<int> xs = positions(region.width, width), ys = positions(region.height, height);
  Image out(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        out.at(y, x, c) = image.at(region.top + ys[y], region.left + xs[x], c);
      }
    }
  }
  return out;
}

}  // namespace

Interpolation interpolation_from_name(std::string_view name) {
  static constexpr Word<Interpolation> kWords[] = {{Interpolation::kNearest, "nearest"},
                                                   {Interpolation::kBox, "box"},
                                                   {Interpolation::kBilinear, "bilinear"},
                                                   {Interpolation::kBicubic, "bicubic"},
                                                   {Interpolation::kLanczos, "lanczos"}};
  return choice_for(kWords, "interpolation", name);
}

Image resize_region(const Image& image, const Region& region, int height, int width,
                    Interpolation interpolation) {
  TESSERA_CHECK(region.top >= 0 && region.left >= 0 && region.height > 0 && region.width > 0 &&
                    region.height <= image.height - region.top &&
                    region.width <= image.width - region.left,
                "[resize] region top {}, left {}, {} x {} is not inside a picture of {} x {}",
                region.top, region.left, region.width, region.height, image.width, image.height);
  TESSERA_CHECK(height > 0 && width > 0, "[resize] target {} x {} has no pixels", width, height);
  TESSERA_CHECK(image.channels == 1 || image.channels == 3, "[resize] {} channels, wanted 1 or 3",
                image.channels);
  const bool same_height = region.height == height, same_width = region.width == width;
  if (interpolation == Interpolation::kNearest && !(same_height && same_width)) {
    return nearest(image, region, height, width);
  }
  const Rows rows = same_width ? copy_region(image, region)
                               : horizontal_pass(image, region, width, interpolation);
  return same_height ? to_image(rows, image.channels)
                     : vertical_pass(rows, image.channels, height, interpolation);
}

}  // namespace tessera
