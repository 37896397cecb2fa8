// From samples to pixels: where to look, and how light becomes levels.
// Rule: linear light until the last step. Edges are smoothed by drawing pixels that differ from a
// neighbour from four samples instead of one.
#include "data/scene/draw.h"

#include <utility>

#include "data/scene/shade.h"

namespace tessera::scene {
namespace {

// Where the lanes of a packet look, in pixels from the upper left corner.
struct Spots {
  Floats y, x;
};

class View {
 public:
  View(const Scene& scene, int height, int width) : scene_(scene), height_(height), width_(width) {
    pixel_ = 2.0f * scene.camera.half_angle_tan / static_cast<float>(std::min(height, width));
  }

  // From the camera: unit vectors.
  Points along(const Spots& at) const {
    const Camera& camera = scene_.camera;
    const Floats u = (at.x - 0.5f * static_cast<float>(width_)) * pixel_;
    const Floats v = (0.5f * static_cast<float>(height_) - at.y) * pixel_;
    return normalized(camera.forward + Points(camera.right) * u + Points(camera.up) * v);
  }

  // Less light towards the corners.
  Floats vignette(const Spots& at) const {
    const Floats u = at.x / static_cast<float>(width_) - 0.5f;
    const Floats v = at.y / static_cast<float>(height_) - 0.5f;
    return 1.0f - 2.0f * scene_.vignette * (u * u + v * v);
  }

  float pixel() const { return pixel_; }

 private:
  const Scene& scene_;
  int height_, width_;
  float pixel_;
};

// work(first, along) for packets first, first + 1, ..., as many at a time as a March takes.
template <class Work>
void for_batches(const View& view, const std::vector<Spots>& spots, const Work& work) {
  std::array<Points, March::kMostPackets> along;
  for (size_t first = 0; first < spots.size(); first += along.size()) {
    const size_t count = std::min(along.size(), spots.size() - first);
    for (size_t k = 0; k < count; ++k) along[k] = view.along(spots[first + k]);
    work(first, std::span<const Points>(along.data(), count));
  }
}

// The picture in squares of pixels, one a lane: neighbours see much the same.
class Tiles {
 public:
  Tiles(int height, int width) : height_(height), width_(width) {
    for (int top = 0; top < height; top += kSide) {
      for (int left = 0; left < width; left += kSide) corners_.push_back({top, left});
    }
  }

  // The centres of the pixels.
  std::vector<Spots> spots() const {
    std::vector<Spots> all;
    for (const auto& [top, left] : corners_) {
      const Ints y = Ints::load(kLaneNumbers) >> kBits, x = Ints::load(kLaneNumbers) & (kSide - 1);
      all.push_back({to_floats(y + top) + 0.5f, to_floats(x + left) + 0.5f});
    }
    return all;
  }

  // put(lane, y, x) for the pixels of tile k that are inside the picture.
  template <class Put>
  void for_pixels(size_t k, const Put& put) const {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int y = corners_[k].first + lane / kSide, x = corners_[k].second + lane % kSide;
      if (y < height_ && x < width_) put(lane, y, x);
    }
  }

 private:
  static constexpr int kBits = 2, kSide = 1 << kBits;
  static_assert(kSide * kSide == kLanes);

  int height_, width_;
  std::vector<std::pair<int, int>> corners_;  // top, left
};

// The fine samples of a pixel, on a turned grid.
constexpr int kFine = 4, kFinePixels = kLanes / kFine;
constexpr float kFineY[kFine] = {0.125f, 0.375f, 0.625f, 0.875f};
constexpr float kFineX[kFine] = {0.375f, 0.875f, 0.125f, 0.625f};

// kFinePixels pixels (as y * width + x) a packet; the last packet repeats the last pixel.
std::vector<Spots> fine_spots(const std::vector<int>& pixels, int width) {
  std::vector<Spots> all;
  for (size_t i = 0; i < pixels.size(); i += kFinePixels) {
    float y[kLanes], x[kLanes];
    for (size_t p = 0; p < kFinePixels; ++p) {
      const int pixel = pixels[std::min(i + p, pixels.size() - 1)];
      for (size_t f = 0; f < kFine; ++f) {
        y[p * kFine + f] = kFineY[f] + static_cast<float>(pixel / width);
        x[p * kFine + f] = kFineX[f] + static_cast<float>(pixel % width);
      }
    }
    all.push_back({Floats::load(y), Floats::load(x)});
  }
  return all;
}

// The mean of each pixel's fine samples, in the first lanes; highlights count as little more than
// white.
Floats mean_of_fine(Floats light) {
  float each[kLanes], mean[kLanes] = {};
  min(light, 1.5f).store(each);
  for (int lane = 0; lane < kLanes; ++lane) mean[lane / kFine] += each[lane];
  return Floats::load(mean) * (1.0f / kFine);
}

// Linear light to levels: a soft shoulder above 0.8, then gamma 2.
Ints level(Floats light) {
  const Floats kept =
      select(light < 0.8f, max(light, 0.0f), 1.0f - 0.04f / max(light - 0.6f, 0.2f));
  return to_ints(255.0f * sqrt(kept) + 0.5f);
}

struct Levels {
  int32_t rgb[3][kLanes];

  explicit Levels(const Points& light) {
    level(light.x).store(rgb[0]);
    level(light.y).store(rgb[1]);
    level(light.z).store(rgb[2]);
  }
  void put(int lane, uint8_t* pixel) const {
    for (int c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(rgb[c][lane]);
  }
};

// Pixels of `once` that differ from a neighbour, as y * width + x. what: of each pixel's sample.
std::vector<int> edges(const Image& once, const std::vector<int>& what) {
  constexpr int kVisible = 22;  // levels
  std::vector<uint8_t> marked(what.size());
  auto compare = [&](int a, int b) {  // without a branch: nobody could foretell it
    const uint8_t *p = &once.pixels[3 * a], *q = &once.pixels[3 * b];
    const int most =
        std::max({std::abs(p[0] - q[0]), std::abs(p[1] - q[1]), std::abs(p[2] - q[2])});
    const uint8_t mark = (most > kVisible) | (what[a] != what[b]);
    marked[a] |= mark;
    marked[b] |= mark;
  };
  for (int y = 0, i = 0; y < once.height; ++y) {
    for (int x = 0; x < once.width; ++x, ++i) {
      if (x + 1 < once.width) compare(i, i + 1);
      if (y + 1 < once.height) compare(i, i + once.width);
    }
  }
  std::vector<int> found;
  for (size_t i = 0; i < marked.size(); ++i) {
    if (marked[i]) found.push_back(static_cast<int>(i));
  }
  return found;
}

}  // namespace

Image draw(const Scene& scene, int height, int width) {
  const View view(scene, height, width);
  Image image(width, height, 3);
  std::vector<int> what(static_cast<size_t>(width) * height);
  Shader shade(scene, view.pixel());
  const Tiles tiles(height, width);
  const std::vector<Spots> centers = tiles.spots();
  for_batches(view, centers, [&](size_t first, std::span<const Points> along) {
    const std::span<const Samples> samples = shade(along);
    for (size_t k = 0; k < samples.size(); ++k) {
      const Levels levels(samples[k].color * view.vignette(centers[first + k]));
      int32_t seen[kLanes];
      samples[k].what.store(seen);
      tiles.for_pixels(first + k, [&](int lane, int y, int x) {
        levels.put(lane, &image.at(y, x, 0));
        what[static_cast<size_t>(y) * width + x] = seen[lane];
      });
    }
  });
  const std::vector<int> redraw = edges(image, what);
  const std::vector<Spots> fine = fine_spots(redraw, width);
  for_batches(view, fine, [&](size_t first, std::span<const Points> along) {
    const std::span<const Samples> samples = shade(along);
    for (size_t k = 0; k < samples.size(); ++k) {
      const Points light = samples[k].color * view.vignette(fine[first + k]);
      const Levels levels({mean_of_fine(light.x), mean_of_fine(light.y), mean_of_fine(light.z)});
      const size_t pixel = (first + k) * kFinePixels;
      for (size_t i = 0; i < std::min<size_t>(kFinePixels, redraw.size() - pixel); ++i) {
        levels.put(static_cast<int>(i), &image.pixels[3 * static_cast<size_t>(redraw[pixel + i])]);
      }
    }
  });
  return image;
}

Image draw_classes(const Scene& scene, int height, int width) {
  Image out(width, height, 1);
  Tracer tracer(scene);
  const Tiles tiles(height, width);
  for_batches(
      View(scene, height, width), tiles.spots(), [&](size_t first, std::span<const Points> along) {
        const std::span<const Hits> hits = tracer.nearest_hits(along);
        for (size_t k = 0; k < hits.size(); ++k) {
          const Ints hills = (hits[k].label == int{kSky}) & sky_at(scene, along[k], 0.0f).hills;
          int32_t label[kLanes];
          select(hills, Ints(int{kHills}), hits[k].label).store(label);
          tiles.for_pixels(first + k, [&](int lane, int y, int x) {
            out.at(y, x, 0) = static_cast<uint8_t>(label[lane]);
          });
        }
      });
  return out;
}

}  // namespace tessera::scene
