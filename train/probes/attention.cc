// Probabilities out of the encoder, shades onto pictures.
#include "train/probes/attention.h"

#include <algorithm>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "data/draw.h"
#include "engine/error.h"
#include "engine/raw.h"
#include "train/picture_batches.h"

namespace tessera {
namespace {

// The sheet: small pictures are magnified to about this side; margins in pixels of the sheet.
constexpr int64_t kCellSide = 128;
constexpr int kMargin = 4;
constexpr float kPictureShare = 0.45f;  // of an overlay; the rest is the map's colour

// Black, red, yellow, white: ever brighter, so that it reads without colours, too.
Color heat(float value) {
  const auto byte = [](float v) {
    return static_cast<uint8_t>(std::clamp(v, 0.0f, 1.0f) * 255 + 0.5f);
  };
  return {byte(value * 2), byte(value * 2 - 1), byte(value * 4 - 3)};
}

// Row 0, the class token's, of (N, N), without its own column.
std::vector<float> class_row(const Tensor& attention) {
  const Tensor row = raw::select(attention, 0, 0);
  return raw::contiguous(raw::slice(row, 0, 1, row.size(0))).to_vector<float>();
}

}  // namespace

std::vector<std::vector<AttentionMap>> class_attention(const VitEncoder& encoder,
                                                       const Normalisation& normalisation,
                                                       const Tensor& image,
                                                       std::span<const int64_t> blocks) {
  const NoGrad no_grad;
  const std::vector<Tensor> attention =
      encoder.attention(raw::to(normalisation.apply(image), encoder.device()));
  std::vector<std::vector<AttentionMap>> maps;
  for (const int64_t block : blocks) {
    TESSERA_CHECK_USAGE(block >= 1 && block <= std::ssize(attention),
                        "block {}: this encoder has blocks 1 to {}", block, attention.size());
    const std::vector<Tensor> so_far(attention.begin(), attention.begin() + block);
    const Tensor heads = select(so_far.back(), 0, 0);  // (heads, N, N)
    std::vector<AttentionMap> of_block = {
        {"mean", class_row(mean(heads, {0}))},
        {"rollout", class_row(select(attention_rollout(so_far), 0, 0))}};
    for (int64_t h = 0; h < heads.size(0); ++h) {
      of_block.push_back({fmt::format("head {}", h + 1), class_row(select(heads, 0, h))});
    }
    maps.push_back(std::move(of_block));
  }
  return maps;
}

Image attention_overlay(const Tensor& image, const std::vector<float>& patches, const Grid& grid) {
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  TESSERA_CHECK(
      std::ssize(patches) == grid.patches() && height % grid.rows == 0 && width % grid.columns == 0,
      "[attention] a map of {} patches for a picture {}", patches.size(), describe(image));
  const Image picture = picture_of(image.data<float>(), channels, height, width);
  const auto [least, largest] = std::minmax_element(patches.begin(), patches.end());
  const float span = *largest - *least;
  Image overlay(picture.width, picture.height, 3);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const int64_t row = y / (height / grid.rows), column = x / (width / grid.columns);
      const float value = patches[static_cast<size_t>(row * grid.columns + column)];
      const Color color = heat(span > 0 ? (value - *least) / span : 0);
      float grey = 0;
      for (int c = 0; c < picture.channels; ++c) grey += picture.at(y, x, c);
      grey /= static_cast<float>(picture.channels);
      const uint8_t shades[3] = {color.red, color.green, color.blue};
      for (int c = 0; c < 3; ++c) {
        overlay.at(y, x, c) =
            static_cast<uint8_t>(kPictureShare * grey + (1 - kPictureShare) * shades[c] + 0.5f);
      }
    }
  }
  return overlay;
}

Image attention_sheet(const VitEncoder& encoder, const Normalisation& normalisation,
                      const EvaluationReader& reader, std::span<const int64_t> pictures,
                      std::span<const int64_t> blocks) {
  const VitConfig& config = encoder.config();
  const PictureBatch batch = read_batch(reader, pictures);
  PassedOver passed_over;
  passed_over.note(batch);
  passed_over.check_any_was_read();

  const int64_t side = std::max(config.image_height, config.image_width);
  const int scale = static_cast<int>(std::max<int64_t>(1, kCellSide / side));
  const int cell_width = static_cast<int>(config.image_width) * scale + kMargin;
  const int cell_height = static_cast<int>(config.image_height) * scale + kMargin;
  const int columns = 3 + static_cast<int>(config.heads);
  const int rows = static_cast<int>(batch.pictures.size() * blocks.size());
  const int left = blocks.size() > 1 ? text_width("block 12 ") : kMargin;
  const int top = kLetterHeight + 2 * kMargin;
  Image sheet = blank_picture(left + columns * cell_width, top + rows * cell_height, kWhite);
  int row = 0;
  for (int64_t i = 0; i < std::ssize(batch.pictures); ++i) {
    const Tensor one = raw::contiguous(raw::slice(batch.images, 0, i, i + 1));  // (1, C, H, W)
    const Tensor image = raw::select(one, 0, 0);
    const auto maps = class_attention(encoder, normalisation, one, blocks);
    for (size_t b = 0; b < blocks.size(); ++b, ++row) {
      const int y = top + row * cell_height;
      if (blocks.size() > 1) {
        draw_text(sheet, kMargin, y, fmt::format("block {}", blocks[b]), kInk);
      }
      const auto place = [&](int column, const std::string& name, const Image& picture) {
        const int x = left + column * cell_width;
        if (row == 0) draw_text(sheet, x, kMargin, name, kInk);
        draw_picture(sheet, x, y, picture, scale);
      };
      place(0, "picture",
            picture_of(image.data<float>(), config.channels, config.image_height,
                       config.image_width));
      for (size_t m = 0; m < maps[b].size(); ++m) {
        place(static_cast<int>(m) + 1, maps[b][m].name,
              attention_overlay(image, maps[b][m].patches, config.grid()));
      }
    }
  }
  return sheet;
}

}  // namespace tessera
