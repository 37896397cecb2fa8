// The draws behind a scene.
// Rule: ranges are chosen so that the main thing is in view and not covered; kinds, colours,
// textures, light and backdrop are drawn independently, so that none gives another away.
#include "data/scene/compose.h"

#include <array>
#include <numbers>

namespace tessera::scene {
namespace {

constexpr float kPi = std::numbers::pi_v<float>;

// Six colours that go together, as a screen shows them.
using Palette = std::array<uint32_t, 6>;
constexpr Palette kPalettes[] = {
    {0xb5651d, 0x7b4a2a, 0xd9b382, 0x5c6b3c, 0xede0c8, 0x3b2f2a},  // clay and olive
    {0x2f5d62, 0x5e8b7e, 0xdfeeea, 0xc9824a, 0x1f3b4d, 0xe8c99b},  // harbour
    {0x3f6b35, 0x7a9e4b, 0xc8d19a, 0x6b4a2b, 0xe3b23c, 0x28402a},  // forest
    {0xa23b2a, 0xd9783b, 0xf0c35a, 0x6d3222, 0x8a8a3c, 0xf3e3c3},  // autumn
    {0x8fb3d1, 0xd6e4ee, 0xf2c6b8, 0x9a8fb8, 0xf7efe2, 0x5b6d8a},  // pale morning
    {0x4a4e57, 0x8d939c, 0xc9ccd1, 0x2b2d33, 0xb08a5a, 0xece9e4},  // stone
    {0xc23b3b, 0x2c5aa0, 0xe6b422, 0x3a8f4e, 0xf1f0ea, 0x23252b},  // toys
    {0x70413f, 0xb06a5b, 0xe0b7a0, 0x4f5d75, 0x2d3142, 0xefdcc7},  // brick and slate
    {0x1d3b53, 0x3e7cb1, 0x81a4cd, 0xdbe4ee, 0xf17300, 0x054a5b},  // sea and buoy
    {0x6a4c93, 0xb185a7, 0xe8cfe0, 0x4a6d4f, 0xc9b458, 0x33263f},  // heather
};

float uniform(PhiloxStream& random, float low, float high) {
  return static_cast<float>(random.uniform(low, high));
}

// A screen colour as linear light (gamma 2, which draw.cc undoes).
Vec3 linear(uint32_t rgb) {
  auto channel = [&](int shift) {
    const float v = static_cast<float>(rgb >> shift & 255) / 255.0f;
    return v * v;
  };
  return {channel(16), channel(8), channel(0)};
}

// Somewhat lighter or darker, warmer or cooler than the palette has it.
Vec3 varied(PhiloxStream& random, Vec3 color) {
  const float light = std::exp2(uniform(random, -1.1f, 0.5f));
  const float warm = uniform(random, -0.12f, 0.12f);
  return color * Vec3{light * (1 + warm), light, light * (1 - warm)};
}

Vec3 pick(PhiloxStream& random, const Palette& palette) {
  return varied(random, linear(palette[random.below(palette.size())]));
}

// Orthonormal axes: turned about the vertical only, or any way.
void set_axes(PhiloxStream& random, Texture& texture, bool upright) {
  const float yaw = uniform(random, 0, 2 * kPi);
  texture.u = {std::cos(yaw), 0, std::sin(yaw)};
  texture.v = {0, 1, 0};
  if (!upright) {
    const float tilt = uniform(random, 0, kPi);
    const Vec3 level = {-texture.u.z, 0, texture.u.x};
    texture.v = Vec3{0, std::cos(tilt), 0} + level * std::sin(tilt);
  }
  texture.w = cross(texture.u, texture.v);
  if (random.coin()) std::swap(texture.u, texture.v);
}

Texture thing_texture(PhiloxStream& random, const Palette& palette) {
  constexpr Pattern kUsual[] = {Pattern::kPlain,  Pattern::kPlain,   Pattern::kStripes,
                                Pattern::kChecks, Pattern::kDots,    Pattern::kWood,
                                Pattern::kMarble, Pattern::kSpeckle, Pattern::kBricks};
  Texture t;
  t.pattern = kUsual[random.below(std::size(kUsual))];
  t.first = pick(random, palette);
  t.second = pick(random, palette);
  if (t.pattern == Pattern::kWood || t.pattern == Pattern::kMarble) {  // shades of one colour
    t.second = mix(t.first, t.second, 0.5f) * uniform(random, 0.4f, 0.8f);
  }
  t.frequency = uniform(random, 1.0f, 2.6f);
  t.mottle = uniform(random, 0.0f, 0.5f);
  t.seed = random.bits();
  set_axes(random, t, random.coin(0.6));
  return t;
}

Texture ground_texture(PhiloxStream& random, const Palette& palette, bool indoors) {
  constexpr Pattern kIndoors[] = {Pattern::kPlain,  Pattern::kChecks, Pattern::kPlanks,
                                  Pattern::kPlanks, Pattern::kMarble, Pattern::kStripes,
                                  Pattern::kSpeckle};
  constexpr Pattern kOutdoors[] = {Pattern::kSpeckle, Pattern::kSpeckle, Pattern::kSpeckle,
                                   Pattern::kPlain,   Pattern::kChecks,  Pattern::kBricks};
  Texture t;
  t.pattern = indoors ? kIndoors[random.below(std::size(kIndoors))]
                      : kOutdoors[random.below(std::size(kOutdoors))];
  t.first = pick(random, palette);
  t.second = mix(t.first, pick(random, palette), uniform(random, 0.4f, 1.0f));
  t.frequency = uniform(random, 0.6f, 1.8f);
  if (t.pattern == Pattern::kSpeckle) t.frequency *= 1.5f;
  t.mottle = uniform(random, 0.1f, 0.7f);
  t.seed = random.bits();
  set_axes(random, t, true);
  // The pattern's plane is u, v: on the ground it lies flat.
  t.w = {0, 1, 0};
  const float yaw = uniform(random, 0, 2 * kPi);
  t.u = {std::cos(yaw), 0, std::sin(yaw)};
  t.v = {-t.u.z, 0, t.u.x};
  return t;
}

Texture wall_texture(PhiloxStream& random, const Palette& palette, Vec3 wall_normal) {
  constexpr Pattern kWalls[] = {Pattern::kPlain,  Pattern::kPlain, Pattern::kStripes,
                                Pattern::kBricks, Pattern::kDots,  Pattern::kSpeckle,
                                Pattern::kPlanks};
  Texture t;
  t.pattern = kWalls[random.below(std::size(kWalls))];
  t.first = pick(random, palette);
  t.second = mix(t.first, pick(random, palette), uniform(random, 0.3f, 1.0f));
  t.frequency = uniform(random, 0.7f, 2.0f);
  t.mottle = uniform(random, 0.1f, 0.6f);
  t.seed = random.bits();
  t.w = wall_normal;
  t.v = {0, 1, 0};
  t.u = cross(t.v, t.w);
  return t;
}

Thing make_thing(PhiloxStream& random, Kind kind, const Palette& palette) {
  Thing thing;
  thing.kind = kind;
  const float u = uniform(random, 0, 1), v = uniform(random, 0, 1), w = uniform(random, 0, 1);
  set_proportions(thing, u, v, w);
  // Flat figures turn at most this far from the viewer, so that they can be told apart.
  const bool flat = kind == kRing || kind == kStar;
  const float yaw = flat ? uniform(random, -0.9f, 0.9f) : uniform(random, 0, 2 * kPi);
  thing.cosine = std::cos(yaw);
  thing.sine = std::sin(yaw);
  thing.body = thing_texture(random, palette);
  thing.detail = thing_texture(random, palette);
  thing.gloss = random.coin(0.4) ? uniform(random, 0.1f, 0.7f) : 0.0f;
  return thing;
}

// Beside and behind the main thing, or small in front of it; not inside another.
void add_companions(PhiloxStream& random, Scene& scene, const Palette& palette) {
  const int64_t wanted = random.below(6);
  for (int64_t i = 0; i < wanted; ++i) {
    Thing thing = make_thing(random, static_cast<Kind>(random.below(kNumKinds)), palette);
    thing.scale = uniform(random, 0.3f, 0.85f) * scene.things[0].scale;
    for (int attempt = 0; attempt < 6; ++attempt) {
      const float z = uniform(random, -1.2f, 4.5f);
      const float side = random.coin() ? 1.0f : -1.0f;
      const float x = z < 0 ? side * uniform(random, 0.9f, 2.2f) : uniform(random, -2.6f, 2.6f);
      thing.position = {x, 0, z};
      bool free = !scene.indoors ||
                  dot(scene.wall_normal, thing.position) > scene.wall_offset + 1.5f * thing.scale;
      for (const Thing& other : scene.things) {
        const Vec3 gap = thing.position - other.position;
        free =
            free && length(gap) > 0.8f * (thing.scale * thing.radius + other.scale * other.radius);
      }
      if (!free) continue;
      scene.things.push_back(thing);
      break;
    }
  }
}

void aim_camera(PhiloxStream& random, Scene& scene) {
  const Thing& main = scene.things[0];
  const float pitch = uniform(random, 0.06f, 0.7f);  // downwards
  const float roll = static_cast<float>(random.normal()) * 0.05f;
  Camera& camera = scene.camera;
  camera.half_angle_tan = uniform(random, 0.25f, 0.55f);
  // The main thing fills this share of the shorter side.
  const float share = uniform(random, 0.55f, 1.05f);
  const float away = main.scale * main.radius / (share * camera.half_angle_tan);
  const Vec3 target = {uniform(random, -0.35f, 0.35f) * main.scale,
                       main.scale * main.center * uniform(random, 0.75f, 1.25f), 0};
  camera.forward = {0, -std::sin(pitch), std::cos(pitch)};
  camera.position = target - camera.forward * away;
  camera.position.y = std::max(camera.position.y, 0.25f);
  const Vec3 right = {1, 0, 0}, up = cross(camera.forward, right);
  camera.right = right * std::cos(roll) + up * std::sin(roll);
  camera.up = up * std::cos(roll) - right * std::sin(roll);
}

void set_backdrop(PhiloxStream& random, Scene& scene, const Palette& palette) {
  scene.indoors = random.coin(0.5);
  scene.ground = ground_texture(random, palette, scene.indoors);
  const float yaw = uniform(random, -0.7f, 0.7f);
  scene.wall_normal = {std::sin(yaw), 0, -std::cos(yaw)};
  scene.wall_offset = -uniform(random, 1.6f, 5.0f);
  scene.wall = wall_texture(random, palette, scene.wall_normal);

  struct Weather {
    uint32_t horizon, zenith, cloud;
  };
  constexpr Weather kWeather[] = {{0xc9dff0, 0x4a86c5, 0xffffff},
                                  {0xdfe3e6, 0x9fadb9, 0xf4f4f2},
                                  {0xf6c08a, 0x5d6fa3, 0xf9d9b4},
                                  {0xe9e2cf, 0x7fa6b8, 0xfaf5e8},
                                  {0xb8c4d0, 0x5f6f82, 0x8b96a3}};
  const Weather& weather = kWeather[random.below(std::size(kWeather))];
  scene.horizon = varied(random, linear(weather.horizon));
  scene.zenith = varied(random, linear(weather.zenith));
  scene.cloud = linear(weather.cloud);
  scene.hill = mix(pick(random, palette) * 0.6f, scene.horizon, uniform(random, 0.2f, 0.6f));
  scene.cloudiness = uniform(random, 0.0f, 1.0f);
  scene.hilliness = random.coin(0.6) ? uniform(random, 0.03f, 0.22f) : 0.0f;
  scene.haze = uniform(random, 0.001f, 0.008f);
  scene.sky_seed = random.bits();
}

void set_light(PhiloxStream& random, Scene& scene) {
  const float azimuth = uniform(random, 0, 2 * kPi);
  const float height = uniform(random, 0.35f, 1.25f);
  scene.to_sun = {std::cos(height) * std::cos(azimuth), std::sin(height),
                  std::cos(height) * std::sin(azimuth)};
  if (scene.to_sun.z > 0.3f) scene.to_sun.z = -scene.to_sun.z;  // rarely against the light
  const float strength = uniform(random, 0.8f, 1.6f);
  const float warm = uniform(random, -0.05f, 0.25f);
  const float share = uniform(random, 0.6f, 0.92f);  // of the light that is direct
  scene.sun = Vec3{1 + warm, 1, 1 - warm} * (1.6f * strength * share);
  scene.sky_light =
      Vec3{1 - 0.5f * warm, 1, 1 + 0.6f * warm} * (1.1f * strength * (1 - share) + 0.1f);
  scene.shadow_softness = std::exp2(uniform(random, 1.5f, 4.5f));
  scene.vignette = uniform(random, 0.0f, 0.35f);
}

}  // namespace

Kind main_kind(PhiloxStream& random) { return static_cast<Kind>(random.below(kNumKinds)); }

Scene compose(PhiloxStream& random) {
  Scene scene;
  const Kind kind = main_kind(random);
  const Palette& palette = kPalettes[random.below(std::size(kPalettes))];
  scene.things.push_back(make_thing(random, kind, palette));
  set_backdrop(random, scene, palette);
  add_companions(random, scene, palette);
  aim_camera(random, scene);
  set_light(random, scene);
  return scene;
}

}  // namespace tessera::scene
