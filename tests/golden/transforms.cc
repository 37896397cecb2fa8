// Picture transforms against Pillow and torchvision: every level is theirs; what comes out as f32
// is within rounding.
// Layout: <case>/in (H, W, C) u8, <case>/out u8 or f32 (C, H, W); listed (cases.h).
#include "data/transforms.h"

#include <cmath>
#include <cstring>

#include "tests/golden/cases.h"

namespace tessera::golden {
namespace {

using Json = nlohmann::json;

constexpr char kToTensor[] = "to_tensor_normalize";  // the one whose result is no picture
constexpr double kFloat = 1e-6;                      // of the largest value

int whole(const Json& attrs, const char* name) { return attrs.at(name).get<int>(); }
double factor(const Json& attrs) { return attrs.at("factor").get<double>(); }
Interpolation interpolation(const Json& attrs) {
  return interpolation_from_name(attrs.at("interpolation").get<std::string>());
}
// One number, or height and width.
std::array<int, 2> size_of(const Json& size) {
  if (size.is_array()) return size.get<std::array<int, 2>>();
  return {size.get<int>(), size.get<int>()};
}

using Transform = std::function<Image(const Image&, const Json&)>;

const std::map<std::string, Transform> kTransforms = {
    {"resize",
     [](const Image& x, const Json& a) {
       return resize(x, whole(a, "height"), whole(a, "width"), interpolation(a));
     }},
    {"resize_shorter_side",
     [](const Image& x, const Json& a) {
       return resize_shorter_side(x, whole(a, "size"), interpolation(a));
     }},
    {"resized_crop",
     [](const Image& x, const Json& a) {
       return resized_crop(x, whole(a, "top"), whole(a, "left"), whole(a, "height"),
                           whole(a, "width"), size_of(a.at("size")), interpolation(a));
     }},
    {"center_crop",
     [](const Image& x, const Json& a) {
       const auto [height, width] = size_of(a.at("size"));
       return center_crop(x, height, width);
     }},
    {"hflip", [](const Image& x, const Json&) { return hflip(x); }},
    {"rotate",
     [](const Image& x, const Json& a) {
       return rotate(x, a.at("angle").get<double>(), interpolation(a),
                     static_cast<uint8_t>(whole(a, "fill")));
     }},
    {"adjust_brightness",
     [](const Image& x, const Json& a) { return adjust_brightness(x, factor(a)); }},
    {"adjust_contrast",
     [](const Image& x, const Json& a) { return adjust_contrast(x, factor(a)); }},
    {"adjust_saturation",
     [](const Image& x, const Json& a) { return adjust_saturation(x, factor(a)); }},
    {"adjust_hue", [](const Image& x, const Json& a) { return adjust_hue(x, factor(a)); }},
    {"sharpness", [](const Image& x, const Json& a) { return adjust_sharpness(x, factor(a)); }},
    {"posterize", [](const Image& x, const Json& a) { return posterize(x, whole(a, "bits")); }},
    {"solarize", [](const Image& x, const Json& a) { return solarize(x, whole(a, "threshold")); }},
    {"autocontrast", [](const Image& x, const Json&) { return autocontrast(x); }},
    {"equalize", [](const Image& x, const Json&) { return equalize(x); }},
    {"invert", [](const Image& x, const Json&) { return invert(x); }},
    {"grayscale", [](const Image& x, const Json&) { return grayscale(x, x.channels); }},
};

Image image_of(const Tensor& t) {
  TESSERA_CHECK(t.ndim() == 3 && t.dtype() == DType::kU8, "is no picture: {}", describe(t));
  Image image(static_cast<int>(t.size(1)), static_cast<int>(t.size(0)),
              static_cast<int>(t.size(2)));
  std::memcpy(image.pixels.data(), t.data<uint8_t>(), image.pixels.size());
  return image;
}

std::string fault_of_picture(const Image& have, const Image& want) {
  if (have.height != want.height || have.width != want.width || have.channels != want.channels) {
    return fmt::format("is {} x {} x {} for {} x {} x {}", have.height, have.width, have.channels,
                       want.height, want.width, want.channels);
  }
  size_t equal = 0;
  int furthest = 0;
  for (size_t i = 0; i < want.pixels.size(); ++i) {
    const int distance = std::abs(int{have.pixels[i]} - int{want.pixels[i]});
    furthest = std::max(furthest, distance);
    equal += distance == 0;
  }
  if (furthest == 0) return "";
  return fmt::format("off by up to {} levels, {} of {} equal", furthest, equal, want.pixels.size());
}

std::string run_case(const File& file, const Case& c) {
  const Image in = image_of(file.tensor(c.name + "/in", Device::kCpu));
  const Tensor want = file.tensor(c.name + "/out", Device::kCpu);
  if (c.op == kToTensor) {
    const auto mean = c.attrs.at("mean").get<std::vector<float>>();
    const auto deviation = c.attrs.at("std").get<std::vector<float>>();
    const Tensor have =
        Tensor::from(to_tensor_normalize(in, mean, deviation), {in.channels, in.height, in.width});
    return fault_within(have, want, kFloat * std::max(1.0, largest(want)));
  }
  return fault_of_picture(kTransforms.at(c.op)(in, c.attrs), image_of(want));
}

}  // namespace

void run_transforms(const File& file, Report& report) {
  run_cases(
      file, report,
      [](const std::string& op) { return op == kToTensor || kTransforms.contains(op); },
      [&](const Case& c) { return run_case(file, c); });
}

}  // namespace tessera::golden
