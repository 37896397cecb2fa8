// The table of operations, and the draw.
#include "data/rand_augment.h"

#include <algorithm>

#include "data/transforms.h"
#include "engine/error.h"

namespace tessera {
namespace {

struct Setting {
  double strength;  // 0 to 1
  double sign;      // 1 or -1
  uint8_t fill;

  double factor() const { return 1 + sign * 0.9 * strength; }
  int whole(double most) const { return static_cast<int>(strength * most); }
  double signed_part(double most) const { return sign * strength * most; }
};

struct Operation {
  const char* name;
  Image (*apply)(const Image& image, const Setting& s);
};

constexpr Interpolation kSmooth = Interpolation::kBilinear;

constexpr Operation kOperations[] = {
    {"auto_contrast", [](const Image& x, const Setting&) { return autocontrast(x); }},
    {"equalize", [](const Image& x, const Setting&) { return equalize(x); }},
    {"invert", [](const Image& x, const Setting&) { return invert(x); }},
    {"rotate", [](const Image& x,
                  const Setting& s) { return rotate(x, s.signed_part(30), kSmooth, s.fill); }},
    {"posterize", [](const Image& x, const Setting& s) { return posterize(x, 4 - s.whole(4)); }},
    {"solarize", [](const Image& x, const Setting& s) { return solarize(x, 256 - s.whole(256)); }},
    {"solarize_add",
     [](const Image& x, const Setting& s) { return solarize_add(x, s.whole(110)); }},
    {"color", [](const Image& x, const Setting& s) { return adjust_saturation(x, s.factor()); }},
    {"contrast", [](const Image& x, const Setting& s) { return adjust_contrast(x, s.factor()); }},
    {"brightness",
     [](const Image& x, const Setting& s) { return adjust_brightness(x, s.factor()); }},
    {"sharpness", [](const Image& x, const Setting& s) { return adjust_sharpness(x, s.factor()); }},
    {"shear_x",
     [](const Image& x, const Setting& s) {
       return affine(x, {1, s.signed_part(0.3), 0, 0, 1, 0}, kSmooth, s.fill);
     }},
    {"shear_y",
     [](const Image& x, const Setting& s) {
       return affine(x, {1, 0, 0, s.signed_part(0.3), 1, 0}, kSmooth, s.fill);
     }},
    {"translate_x",
     [](const Image& x, const Setting& s) {
       return affine(x, {1, 0, s.signed_part(0.45) * x.width, 0, 1, 0}, kSmooth, s.fill);
     }},
    {"translate_y",
     [](const Image& x, const Setting& s) {
       return affine(x, {1, 0, 0, 0, 1, s.signed_part(0.45) * x.height}, kSmooth, s.fill);
     }},
};

}  // namespace

const std::vector<std::string>& rand_augment_operations() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Operation& operation : kOperations) list.emplace_back(operation.name);
    return list;
  }();
  return names;
}

Image apply_operation(size_t operation, const Image& image, double strength, bool negative,
                      uint8_t fill) {
  TESSERA_CHECK(operation < std::size(kOperations) && strength >= 0 && strength <= 1,
                "[rand_augment] there is no operation {} of strength {}", operation, strength);
  return kOperations[operation].apply(image, {strength, negative ? -1.0 : 1.0, fill});
}

void RandAugment::check() const {
  TESSERA_CHECK_USAGE(operations >= 0, "{} operations of RandAugment", operations);
  TESSERA_CHECK_USAGE(probability >= 0 && probability <= 1,
                      "probability {} of an operation must be in [0, 1]", probability);
  TESSERA_CHECK_USAGE(magnitude >= 0 && magnitude <= 10,
                      "--rand-augment must be in [0, 10], got {}", magnitude);
  TESSERA_CHECK_USAGE(deviation >= 0, "RandAugment's deviation {} must not be negative", deviation);
}

Image rand_augment(const Image& image, const RandAugment& options, PhiloxStream& random) {
  Image out = image;
  for (int i = 0; i < options.operations; ++i) {
    const auto operation = static_cast<size_t>(random.below(std::size(kOperations)));
    const bool applied = random.coin(options.probability);
    const double magnitude = options.magnitude + options.deviation * random.normal();
    const bool negative = random.coin();
    if (!applied) continue;
    out = apply_operation(operation, out, std::clamp(magnitude, 0.0, 10.0) / 10, negative,
                          options.fill);
  }
  return out;
}

}  // namespace tessera
