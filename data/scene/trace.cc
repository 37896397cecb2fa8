// Sphere tracing: a ray steps by its distance to a thing, which never takes it through the surface.
// Rule: one thing after the other, each within the ball that bounds it.
#include "data/scene/trace.h"

namespace tessera::scene {
namespace {

constexpr float kFar = 1e9f;
constexpr float kNear = 0.008f;  // a surface is hit this close, in a thing's own units
constexpr int kMostSteps = 40, kMostShadowSteps = 16;

// Where rays enter and leave a thing's bounding ball, in the thing's units; true in lanes that meet
// it.
Ints bounds(const Thing& thing, const Rays& local, float margin, Floats* enter, Floats* leave) {
  const Points to_center = Vec3{0, thing.center, 0} - local.from;
  const Floats middle = dot(to_center, local.along);
  const float radius = thing.radius + margin;
  const Floats square = radius * radius - dot(to_center, to_center) + middle * middle;
  const Floats half = sqrt(max(square, 0.0f));
  *enter = max(middle - half, 0.0f);
  *leave = middle + half;
  return (square > 0.0f) & (*leave > 0.0f);
}

void take(Hits* hits, Ints nearer, Floats t, int thing, int label) {
  hits->t = select(nearer, t, hits->t);
  hits->thing = select(nearer, Ints(thing), hits->thing);
  hits->label = select(nearer, Ints(label), hits->label);
}

Hits backdrop(const Scene& scene, const Points& along) {
  Hits hits = {kFar, -1, int{kSky}};
  const Vec3 from = scene.camera.position;
  take(&hits, along.y < -1e-4f, -from.y / along.y, -1, kGround);
  if (scene.indoors) {
    const Floats towards = dot(scene.wall_normal, along);
    const Floats t = (scene.wall_offset - dot(scene.wall_normal, from)) / towards;
    take(&hits, (towards < -1e-4f) & (t > 0.0f) & (t < hits.t), t, -1, kWall);
  }
  return hits;
}

}  // namespace

std::span<const Hits> Tracer::nearest_hits(std::span<const Points> along) {
  for (size_t k = 0; k < along.size(); ++k) hits_[k] = backdrop(scene_, along[k]);
  for (size_t i = 0; i < scene_.things.size(); ++i) {
    const Thing& thing = scene_.things[i];
    const Points from = thing.to_local(scene_.camera.position);
    march_.clear();
    for (size_t k = 0; k < along.size(); ++k) {
      const Rays local = {from, thing.direction_to_local(along[k])};
      Floats t, leave;
      const Ints meets = bounds(thing, local, 0.0f, &t, &leave);
      leave = min(leave, hits_[k].t * (1.0f / thing.scale));
      const Ints going = meets & (t < leave);
      if (any(going)) march_.add(local, t, leave, kFar, going, k);
    }
    march_.run(thing, kMostSteps, [&](Floats d, March::Packet* p) {
      const Ints hit = p->going & (d < kNear);
      p->value = select(hit, p->t * thing.scale, p->value);
      p->t += max(d, 0.0f);
      p->going = p->going & ~hit & (p->t < p->leave);
    });
    for (const March::Packet& p : march_.packets()) {
      Hits* hits = &hits_[p.number];
      take(hits, p.value < hits->t, p.value, static_cast<int>(i), thing.kind);
    }
  }
  return {hits_.data(), along.size()};
}

std::span<const Floats> Tracer::sunlight(std::span<const Points> points,
                                         std::span<const Ints> wanted) {
  std::fill_n(light_.begin(), points.size(), 1.0f);
  for (const Thing& thing : scene_.things) {
    const Points along = thing.direction_to_local(scene_.to_sun);
    march_.clear();
    for (size_t k = 0; k < points.size(); ++k) {
      if (!any(wanted[k])) continue;
      const Rays local = {thing.to_local(points[k]), along};
      Floats t, leave;
      const Ints going = wanted[k] & bounds(thing, local, 0.15f, &t, &leave);
      if (any(going)) march_.add(local, t, leave, light_[k], going, k);
    }
    march_.run(thing, kMostShadowSteps, [&](Floats d, March::Packet* p) {
      const Floats passed = max(scene_.shadow_softness * d / max(p->t, 0.05f), 0.0f);
      p->value = select(p->going & (passed < p->value), passed, p->value);
      p->t += max(d, 0.03f);
      p->going = p->going & (p->t < p->leave) & (p->value > 0.01f);
    });
    for (const March::Packet& p : march_.packets()) light_[p.number] = p.value;
  }
  for (size_t k = 0; k < points.size(); ++k) {
    light_[k] = light_[k] * light_[k] * (3.0f - 2.0f * light_[k]);
  }
  return {light_.data(), points.size()};
}

}  // namespace tessera::scene
