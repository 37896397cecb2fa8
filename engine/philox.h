// Philox4x32-10 (Salmon et al., SC 2011): random numbers as a pure function of (key, counter).
// Rule: no state. Whoever draws names the key (the seed) and the counter, so the same picture,
// mask or weight comes out whatever the thread, the order or the restart.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace tessera {

using PhiloxBlock = std::array<uint32_t, 4>;

constexpr PhiloxBlock philox4x32(PhiloxBlock counter, uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// 24 random bits as a float in [0, 1); the same bits on every device.
constexpr float uniform_from_bits(uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

// What a counter is made of besides the element: which use of randomness (site) in which step.
// An element's block is philox4x32({element/4 low, element/4 high, iteration, site}, seed).
struct RandomKey {
  uint64_t seed = 0;
  uint32_t iteration = 0;
  uint32_t site = 0;
  // Where a device keeps what is added to iteration, for a step that is recorded once and replayed
  // under other numbers (StepState::iteration). Such a key is for kernels of that device alone.
  const uint32_t* base = nullptr;

  constexpr PhiloxBlock block(uint64_t index) const {
    return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                       base == nullptr ? iteration : iteration + *base, site},
                      seed);
  }
  constexpr uint32_t bits(uint64_t element) const { return block(element / 4)[element % 4]; }
  constexpr float uniform(uint64_t element) const { return uniform_from_bits(bits(element)); }
};

// A small sequential generator for host-side draws (crop boxes, file order): the same Philox
// stream, read one number after another.
class PhiloxStream {
 public:
  explicit PhiloxStream(RandomKey key) : key_(key) {}

  uint32_t bits() {
    if (next_ % 4 == 0) block_ = key_.block(next_ / 4);
    return block_[next_++ % 4];
  }
  double uniform() {  // [0, 1), 53 bits
    const uint64_t high = bits() >> 5, low = bits() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1p-53;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // An integer in [0, n), n < 2^32, without modulo bias worth naming (n / 2^53).
  int64_t below(int64_t n) { return static_cast<int64_t>(uniform() * static_cast<double>(n)); }
  bool coin(double probability = 0.5) { return uniform() < probability; }
  double normal() {  // Box-Muller, one of the pair
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  RandomKey key_;
  uint64_t next_ = 0;
  PhiloxBlock block_{};
};

// The stream of one position (a picture of a batch or of an epoch): a key that Philox itself
// derives, so that positions share no numbers.
inline PhiloxStream stream_at(RandomKey key, uint64_t position) {
  const PhiloxBlock block = key.block(position);
  return PhiloxStream({block[0] | uint64_t{block[1]} << 32, block[2], block[3]});
}

// Sites for host-side draws; call-order sites of a training step start at kFirstStepSite.
enum RandomSite : uint32_t {
  kSiteWeights = 1,
  kSiteMask = 2,
  kSiteOrder = 3,
  kSiteAugment = 4,
  kSitePicture = 5,
  kSiteReplacement = 6,
  kSiteEvaluationMask = 32,
  kFirstStepSite = 1024,
};

}  // namespace tessera
