// A small ray tracer: spheres traced through distance functions, one sun
// with soft shadows, light from the sky, contact shade, haze.
// Rule: linear light until the last step. Edges are smoothed by drawing pixels that differ from a
// neighbour from four samples instead of one.
#include "data/scene/draw.h"

#include "data/scene/noise.h"

namespace tessera::scene {
namespace {

constexpr float kFar = 1e9f;
constexpr int kMaxSteps = 40;
constexpr float kNear = 0.008f;  // a surface is hit this close, in a thing's own units

struct Rays {
  P8 from, along;  // along are unit vectors
};

struct Hits {
  F8 t = all(kFar);
  I8 thing = I8{} - 1;  // index, or -1 for the backdrop
  I8 label = I8{} + int{kSky};

  void take(I8 nearer, F8 new_t, int new_thing, int new_label) {
    t = nearer ? new_t : t;
    thing = nearer ? I8{} + new_thing : thing;
    label = nearer ? I8{} + new_label : label;
  }
};

// Where rays enter and leave a thing's bounding ball, in the thing's units; true in lanes that meet
// it.
I8 bounds(const Thing& thing, const Rays& local, float margin, F8* enter, F8* leave) {
  const P8 to_center = all({0, thing.center, 0}) - local.from;
  const F8 middle = dot(to_center, local.along);
  const float radius = thing.radius + margin;
  const F8 square = radius * radius - dot(to_center, to_center) + middle * middle;
  const F8 half = sqrt(max(square, 0.0f));
  *enter = max(middle - half, 0.0f);
  *leave = middle + half;
  return (square > 0.0f) & (*leave > 0.0f);
}

Rays to_local(const Thing& thing, const Rays& rays) {
  return {thing.to_local(rays.from), thing.direction_to_local(rays.along)};
}

// Distances along the rays to the thing, in world units; kFar for a miss, or where something else
// is nearer.
F8 trace(const Thing& thing, const Rays& rays, F8 nearest) {
  const Rays local = to_local(thing, rays);
  F8 t, leave, found = all(kFar);
  I8 going = bounds(thing, local, 0.0f, &t, &leave);
  leave = min(leave, nearest * (1.0f / thing.scale));
  going = going & (t < leave);
  for (int step = 0; step < kMaxSteps && any(going); ++step) {
    const F8 d = distance(thing, local.from + local.along * t);
    const I8 hit = going & (d < kNear);
    found = hit ? t * thing.scale : found;
    t += max(d, 0.0f);
    going = going & ~hit & (t < leave);
  }
  return found;
}

Hits nearest_hits(const Scene& scene, const Rays& rays) {
  Hits hits;
  hits.take(rays.along.y < -1e-4f, -rays.from.y / rays.along.y, -1, kGround);
  if (scene.indoors) {
    const P8 n = all(scene.wall_normal);
    const F8 towards = dot(n, rays.along);
    const F8 t = (scene.wall_offset - dot(n, rays.from)) / towards;
    hits.take((towards < -1e-4f) & (t > 0.0f) & (t < hits.t), t, -1, kWall);
  }
  for (size_t i = 0; i < scene.things.size(); ++i) {
    const F8 t = trace(scene.things[i], rays, hits.t);
    hits.take(t < hits.t, t, static_cast<int>(i), scene.things[i].kind);
  }
  return hits;
}

// How much of the sun is seen from each point: 0..1. The closer a ray passes by a thing, the
// darker. Only lanes in `wanted` mean anything.
F8 sunlight(const Scene& scene, const P8& p, I8 wanted) {
  F8 light = all(1.0f);
  for (const Thing& thing : scene.things) {
    const Rays local = to_local(thing, {p, all(scene.to_sun)});
    F8 t, leave;
    I8 going = wanted & bounds(thing, local, 0.15f, &t, &leave);
    for (int step = 0; step < 16 && any(going); ++step) {
      const F8 d = distance(thing, local.from + local.along * t);
      const F8 passed = max(scene.shadow_softness * d / max(t, 0.05f), 0.0f);
      light = going & (passed < light) ? passed : light;
      t += max(d, 0.03f);
      going = going & (t < leave) & (light > 0.01f);
    }
  }
  return light * light * (3.0f - 2.0f * light);
}

// Less sky is seen next to a thing: 0..1.
F8 openness(const Scene& scene, const P8& p, I8 except) {
  F8 open = all(1.0f);
  for (size_t i = 0; i < scene.things.size(); ++i) {
    const Thing& thing = scene.things[i];
    const P8 local = thing.to_local(p);
    const P8 offset = local - all({0, thing.center, 0});
    const float reach = thing.radius + 0.6f;
    const I8 close = (except != static_cast<int>(i)) & (dot(offset, offset) < reach * reach);
    if (!any(close)) continue;
    const F8 share = 0.35f + 0.65f * clamp01(distance(thing, local) * (1.0f / 0.6f));
    open = close ? open * share : open;
  }
  return open;
}

struct Sky {
  P8 color;
  I8 hills;  // where hills hide the sky
};

Sky sky_at(const Scene& scene, const P8& along, float footprint) {
  const F8 height = max(along.y, 0.0f);
  const F8 depth = 1.0f / (height + 0.25f);
  const P8 q = {1.6f * along.x * depth, all(0.3f), 1.6f * along.z * depth};
  const F8 density = fractal_noise(q, 4, 1.6f * depth * footprint, scene.sky_seed + 9);
  const float least = 0.6f - 0.35f * scene.cloudiness;
  const F8 cover =
      smoothstep(all(least), all(least + 0.2f), density) * min(0.3f + 3.0f * height, 1.0f);
  const P8 clear = mix(all(scene.horizon), all(scene.zenith), sqrt(height));
  const P8 sky = mix(clear, all(scene.cloud), cover);
  if (scene.hilliness <= 0) return {sky, I8{}};

  const F8 azimuth = along.x / max(along.z, 0.1f);
  const F8 top = scene.hilliness * fractal_noise({4.0f * azimuth, all(0.5f), all(0.5f)}, 4,
                                                 all(4 * footprint), scene.sky_seed);
  const F8 patches = fractal_noise({9.0f * azimuth, 25.0f * height, all(2)}, 3, all(9 * footprint),
                                   scene.sky_seed + 5);
  const I8 hills = height < top;
  return {select(hills, all(scene.hill) * (0.6f + 0.8f * patches), sky), hills};
}

// What rays met: what a sample needs before light falls on it.
struct Surfaces {
  P8 normal = all({0, 1, 0});
  P8 albedo = all({0, 0, 0});
  F8 gloss = {};

  void take(I8 mask, const P8& new_normal, const P8& new_albedo, float new_gloss) {
    normal = select(mask, new_normal, normal);
    albedo = select(mask, new_albedo, albedo);
    gloss = mask ? all(new_gloss) : gloss;
  }
};

// width: of a sample, where it meets its surface.
Surfaces surfaces_at(const Scene& scene, const Hits& hits, const P8& p, const P8& along, F8 width) {
  Surfaces out;
  auto add_plane = [&](int label, Vec3 n, const Texture& texture) {
    const I8 mask = hits.label == label;
    if (!any(mask)) return;
    // Seen at a slant a sample is longer than wide: the mean of both, in the geometric sense.
    const F8 slant = sqrt(max(-dot(all(n), along), 0.01f));
    out.take(mask, all(n), texture_color(texture, p, width / slant), 0.0f);
  };
  add_plane(kGround, {0, 1, 0}, scene.ground);
  add_plane(kWall, scene.wall_normal, scene.wall);
  for (size_t i = 0; i < scene.things.size(); ++i) {
    const Thing& thing = scene.things[i];
    const I8 mask = hits.thing == static_cast<int>(i);
    if (!any(mask)) continue;
    const P8 local = thing.to_local(p);
    const P8 n = thing.direction_to_world(normal(thing, local));
    const F8 local_width = width / (thing.scale * max(-dot(n, along), 0.2f));
    const I8 detail = mask & detail_covers(thing, local), body = mask & ~detail;
    if (any(body)) out.take(body, n, texture_color(thing.body, local, local_width), thing.gloss);
    if (any(detail)) {
      out.take(detail, n, texture_color(thing.detail, local, local_width), thing.gloss);
    }
  }
  return out;
}

// Direct light with a highlight, and light from the sky.
P8 lit(const Scene& scene, const Surfaces& at, const P8& p, const P8& along, I8 thing) {
  const F8 facing = max(dot(at.normal, all(scene.to_sun)), 0.0f);
  // Shadow rays start a little off the surface.
  const F8 sun = sunlight(scene, p + at.normal * all(0.02f), facing > 0.0f);
  const F8 open = openness(scene, p, thing) * (0.65f + 0.35f * at.normal.y);
  const P8 color = at.albedo * (all(scene.sky_light) * open + all(scene.sun) * (facing * sun));
  F8 shine = max(dot(at.normal, normalized(all(scene.to_sun) - along)), 0.0f);
  for (int i = 0; i < 5; ++i) shine *= shine;  // to the 32nd power
  return color + all(scene.sun) * (facing > 0.0f ? at.gloss * shine * sun : F8{});
}

struct Samples {
  P8 color;  // linear
  I8 what;   // differs between things and between parts of the backdrop
};

// pixel: the width of a sample at distance 1.
Samples shade(const Scene& scene, const Rays& rays, float pixel) {
  const Hits hits = nearest_hits(scene, rays);
  const I8 in_sky = hits.label == int{kSky};
  const F8 t = in_sky ? F8{} : hits.t;
  const P8 p = rays.from + rays.along * t;
  const Surfaces surfaces = surfaces_at(scene, hits, p, rays.along, pixel * t);
  Samples out = {lit(scene, surfaces, p, rays.along, hits.thing),
                 hits.thing >= 0 ? hits.thing : -hits.label};
  if (scene.indoors) return out;
  const F8 clear = 1.0f / (1.0f + scene.haze * t);
  out.color = mix(all(scene.horizon), out.color, clear * clear);
  if (!any(in_sky)) return out;
  const Sky sky = sky_at(scene, rays.along, pixel);
  out.color = select(in_sky, sky.color, out.color);
  out.what = in_sky & sky.hills ? I8{} - int{kHills} : out.what;
  return out;
}

class View {
 public:
  View(const Scene& scene, int height, int width) : scene_(scene), height_(height), width_(width) {
    pixel_ = 2.0f * scene.camera.half_angle_tan / static_cast<float>(std::min(height, width));
  }

  Rays rays(F8 y, F8 x) const {  // in pixels from the upper left corner
    const Camera& camera = scene_.camera;
    const F8 u = (x - 0.5f * static_cast<float>(width_)) * pixel_;
    const F8 v = (0.5f * static_cast<float>(height_) - y) * pixel_;
    return {all(camera.position),
            normalized(all(camera.forward) + all(camera.right) * u + all(camera.up) * v)};
  }

  Samples samples(F8 y, F8 x) const {
    Samples s = shade(scene_, rays(y, x), pixel_);
    const F8 u = x / static_cast<float>(width_) - 0.5f, v = y / static_cast<float>(height_) - 0.5f;
    s.color = s.color * (1.0f - 2.0f * scene_.vignette * (u * u + v * v));
    return s;
  }

 private:
  const Scene& scene_;
  int height_, width_;
  float pixel_;
};

// Linear light to levels: a soft shoulder above 0.8, then gamma 2.
I8 levels(F8 light) {
  const F8 kept = light < 0.8f ? max(light, 0.0f) : 1.0f - 0.04f / max(light - 0.6f, 0.2f);
  return __builtin_convertvector(255.0f * sqrt(kept) + 0.5f, I8);
}

bool differ(const Image& image, const std::vector<int>& what, int y, int x, int y2, int x2) {
  constexpr int kVisible = 22;  // levels
  if (what[y * image.width + x] != what[y2 * image.width + x2]) return true;
  int most = 0;
  for (int c = 0; c < 3; ++c)
    most = std::max(most, std::abs(image.at(y, x, c) - image.at(y2, x2, c)));
  return most > kVisible;
}

// Pixels of `once` that differ from a neighbour, as y * width + x.
std::vector<int> edges(const Image& once, const std::vector<int>& what) {
  std::vector<int> found;
  for (int y = 0; y < once.height; ++y) {
    for (int x = 0; x < once.width; ++x) {
      if ((x > 0 && differ(once, what, y, x, y, x - 1)) ||
          (x + 1 < once.width && differ(once, what, y, x, y, x + 1)) ||
          (y > 0 && differ(once, what, y, x, y - 1, x)) ||
          (y + 1 < once.height && differ(once, what, y, x, y + 1, x))) {
        found.push_back(y * once.width + x);
      }
    }
  }
  return found;
}

constexpr F8 kColumns = {0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f};
// Four samples of a pixel on a turned grid, twice.
constexpr F8 kOffsetsY = {0.125f, 0.375f, 0.625f, 0.875f, 0.125f, 0.375f, 0.625f, 0.875f};
constexpr F8 kOffsetsX = {0.375f, 0.875f, 0.125f, 0.625f, 0.375f, 0.875f, 0.125f, 0.625f};

}  // namespace

Image draw(const Scene& scene, int height, int width) {
  const View view(scene, height, width);
  Image image(width, height, 3);
  std::vector<int> what(static_cast<size_t>(width) * height);
  auto put = [&](int y, int x, int lane, const I8(&rgb)[3]) {
    for (int c = 0; c < 3; ++c) image.at(y, x, c) = static_cast<uint8_t>(rgb[c][lane]);
  };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; x += kLanes) {
      const Samples s = view.samples(all(y + 0.5f), kColumns + static_cast<float>(x));
      const I8 rgb[3] = {levels(s.color.x), levels(s.color.y), levels(s.color.z)};
      for (int i = 0; i < std::min(kLanes, width - x); ++i) {
        put(y, x + i, i, rgb);
        what[static_cast<size_t>(y) * width + x + i] = s.what[i];
      }
    }
  }
  const std::vector<int> redraw = edges(image, what);
  for (size_t i = 0; i < redraw.size(); i += 2) {  // two pixels fill the lanes
    const int pair[2] = {redraw[i], redraw[std::min(i + 1, redraw.size() - 1)]};
    F8 y = kOffsetsY, x = kOffsetsX;
    for (int lane = 0; lane < kLanes; ++lane) {
      y[lane] += static_cast<float>(pair[lane / 4] / width);
      x[lane] += static_cast<float>(pair[lane / 4] % width);
    }
    const P8 color = view.samples(y, x).color;
    auto mean = [](F8 light) {  // of each half; highlights count as little more than white
      light = min(light, 1.5f);
      return F8{light[0] + light[1] + light[2] + light[3],
                light[4] + light[5] + light[6] + light[7]} *
             0.25f;
    };
    const I8 rgb[3] = {levels(mean(color.x)), levels(mean(color.y)), levels(mean(color.z))};
    for (int k = 0; k < 2; ++k) put(pair[k] / width, pair[k] % width, k, rgb);
  }
  return image;
}

Image draw_classes(const Scene& scene, int height, int width) {
  const View view(scene, height, width);
  Image out(width, height, 1);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; x += kLanes) {
      const Rays rays = view.rays(all(y + 0.5f), kColumns + static_cast<float>(x));
      const Hits hits = nearest_hits(scene, rays);
      const I8 hills = (hits.label == int{kSky}) & sky_at(scene, rays.along, 0.0f).hills;
      const I8 label = hills ? I8{} + int{kHills} : hits.label;
      for (int i = 0; i < std::min(kLanes, width - x); ++i) {
        out.at(y, x + i, 0) = static_cast<uint8_t>(label[i]);
      }
    }
  }
  return out;
}

}  // namespace tessera::scene
