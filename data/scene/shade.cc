// From hits to colours: the surface, the light that falls on it, the air before it.
#include "data/scene/shade.h"

#include "data/scene/distance.h"
#include "data/scene/noise.h"

namespace tessera::scene {
namespace {

// Less sky is seen next to a thing: 0..1.
Floats openness(const Scene& scene, const Points& p, Ints except) {
  Floats open = 1.0f;
  for (size_t i = 0; i < scene.things.size(); ++i) {
    const Thing& thing = scene.things[i];
    const Points local = thing.to_local(p);
    const Points offset = local - Vec3{0, thing.center, 0};
    const float reach = thing.radius + 0.6f;
    const Ints close = (except != static_cast<int>(i)) & (dot(offset, offset) < reach * reach);
    if (!any(close)) continue;
    const Floats d = with_kind(thing, [&](auto kind) { return distance<kind>(thing, local); });
    open = select(close, open * (0.35f + 0.65f * clamp01(d * (1.0f / 0.6f))), open);
  }
  return open;
}

// width: of a sample, where it meets its surface.
Surfaces surfaces_at(const Scene& scene, const Hits& hits, const Points& p, const Points& along,
                     Floats width) {
  Surfaces out;
  auto add_plane = [&](int label, Vec3 n, const Texture& texture) {
    const Ints mask = hits.label == label;
    if (!any(mask)) return;
    // Seen at a slant a sample is longer than wide: the mean of both, in the geometric sense.
    const Floats slant = sqrt(max(-dot(n, along), 0.01f));
    out.take(mask, n, texture_color(texture, p, width / slant), 0.0f);
  };
  add_plane(kGround, {0, 1, 0}, scene.ground);
  add_plane(kWall, scene.wall_normal, scene.wall);
  for (size_t i = 0; i < scene.things.size(); ++i) {
    const Thing& thing = scene.things[i];
    const Ints mask = hits.thing == static_cast<int>(i);
    if (!any(mask)) continue;
    const Points local = thing.to_local(p);
    const Points n = thing.direction_to_world(normal(thing, local));
    const Floats local_width = width / (thing.scale * max(-dot(n, along), 0.2f));
    const Ints detail = mask & detail_covers(thing, local), body = mask & ~detail;
    if (any(body)) out.take(body, n, texture_color(thing.body, local, local_width), thing.gloss);
    if (any(detail)) {
      out.take(detail, n, texture_color(thing.detail, local, local_width), thing.gloss);
    }
  }
  return out;
}

// Direct light with a highlight, and light from the sky. sun: how much of it is seen.
Points lit(const Scene& scene, const Surfaces& at, const Points& p, const Points& along, Ints thing,
           Floats sun) {
  const Floats facing = max(dot(at.normal, scene.to_sun), 0.0f);
  const Floats open = openness(scene, p, thing) * (0.65f + 0.35f * at.normal.y);
  const Points color =
      at.albedo * (Points(scene.sky_light) * open + Points(scene.sun) * (facing * sun));
  Floats shine = max(dot(at.normal, normalized(scene.to_sun - along)), 0.0f);
  for (int i = 0; i < 5; ++i) shine *= shine;  // to the 32nd power
  return color + Points(scene.sun) * select(facing > 0.0f, at.gloss * shine * sun, Floats());
}

}  // namespace

Sky sky_at(const Scene& scene, const Points& along, float footprint) {
  const Floats height = max(along.y, 0.0f);
  const Floats depth = 1.0f / (height + 0.25f);
  const Points q = {1.6f * along.x * depth, 0.3f, 1.6f * along.z * depth};
  const Floats density = fractal_noise(q, 4, 1.6f * depth * footprint, scene.sky_seed + 9);
  const float least = 0.6f - 0.35f * scene.cloudiness;
  const Floats cover = smoothstep(least, least + 0.2f, density) * min(0.3f + 3.0f * height, 1.0f);
  const Points clear = mix(scene.horizon, scene.zenith, sqrt(height));
  const Points sky = mix(clear, scene.cloud, cover);
  if (scene.hilliness <= 0) return {sky, Ints{}};

  const Floats azimuth = along.x / max(along.z, 0.1f);
  const Floats top = scene.hilliness *
                     fractal_noise({4.0f * azimuth, 0.5f, 0.5f}, 4, 4 * footprint, scene.sky_seed);
  const Ints hills = height < top;
  if (!any(hills)) return {sky, hills};
  const Floats patches =
      fractal_noise({9.0f * azimuth, 25.0f * height, 2.0f}, 3, 9 * footprint, scene.sky_seed + 5);
  return {select(hills, Points(scene.hill) * (0.6f + 0.8f * patches), sky), hills};
}

void Surfaces::take(Ints mask, const Points& new_normal, const Points& new_albedo,
                    float new_gloss) {
  normal = select(mask, new_normal, normal);
  albedo = select(mask, new_albedo, albedo);
  gloss = select(mask, Floats(new_gloss), gloss);
}

std::span<const Samples> Shader::operator()(std::span<const Points> along) {
  const std::span<const Hits> hits = tracer_.nearest_hits(along);
  for (size_t k = 0; k < along.size(); ++k) {
    const Ints in_sky = hits[k].label == int{kSky};
    const Floats t = select(in_sky, Floats(), hits[k].t);
    points_[k] = scene_.camera.position + along[k] * t;
    surfaces_[k] = surfaces_at(scene_, hits[k], points_[k], along[k], pixel_ * t);
    const Points& n = surfaces_[k].normal;
    shadow_starts_[k] = points_[k] + n * 0.02f;  // a little off the surface
    sunny_[k] = ~in_sky & (dot(n, scene_.to_sun) > 0.0f);
  }
  const std::span<const Floats> sun =
      tracer_.sunlight({shadow_starts_.data(), along.size()}, sunny_);
  for (size_t k = 0; k < along.size(); ++k) {
    const Points color = lit(scene_, surfaces_[k], points_[k], along[k], hits[k].thing, sun[k]);
    samples_[k] = with_air(hits[k], color, along[k]);
  }
  return {samples_.data(), along.size()};
}

// Haze between the eye and what it sees, and the sky behind.
Samples Shader::with_air(const Hits& hits, const Points& color, const Points& along) const {
  Samples s = {color, select(hits.thing >= 0, hits.thing, -hits.label)};
  if (scene_.indoors) return s;
  const Ints in_sky = hits.label == int{kSky};
  const Floats clear = 1.0f / (1.0f + scene_.haze * select(in_sky, Floats(), hits.t));
  s.color = mix(scene_.horizon, s.color, clear * clear);
  if (!any(in_sky)) return s;
  const Sky sky = sky_at(scene_, along, pixel_);
  s.color = select(in_sky, sky.color, s.color);
  s.what = select(in_sky & sky.hills, Ints(-int{kHills}), s.what);
  return s;
}

}  // namespace tessera::scene
