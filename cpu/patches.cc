// Patches of pictures as vectors, read where they stand: the rows that a patch embedding
// multiplies. Bytes an element, pictures f32 and vectors bf16: 6; cutting out all patches, choosing
// a quarter of them and casting move 46 for each that was chosen.
#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kLine };

}  // namespace

void patches(const PatchesArgs& args) {
  const View& imgs = args.imgs;
  const int64_t channels = imgs.shape[1], height = imgs.shape[2], width = imgs.shape[3];
  const int64_t tokens = args.y.shape[1], n = args.y.shape[2], p = args.patch;
  const int64_t across = width / p;
  const auto* ids = args.ids.as<const int64_t>();
  visit_floating(args.y.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(args.y.shape[0] * tokens, n, [&](int64_t row) {
      const int64_t b = row / tokens, id = ids == nullptr ? row % tokens : ids[row];
      const int64_t y0 = id / across * p, x0 = id % across * p;
      int64_t to = row * n;
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t r = 0; r < p; ++r, to += p) {
          const int64_t from = ((b * channels + c) * height + y0 + r) * width + x0;
          write_at(read_at<C>(imgs, from, p, kLine), args.y, to, p);
        }
      }
    });
  });
}

}  // namespace tessera::cpu
