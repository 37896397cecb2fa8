// Whole training steps of a masked autoencoder: the same bits for any number of threads, and
// nothing asked of the system after the second.
#include <catch2/catch.hpp>

#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/mae.h"
#include "train/adamw.h"

namespace tessera {
namespace {

const MaeConfig kConfig = {.image_height = 32,
                           .image_width = 48,
                           .patch = 4,
                           .dim = 96,
                           .depth = 3,
                           .heads = 3,
                           .decoder_dim = 64,
                           .decoder_depth = 2,
                           .decoder_heads = 2,
                           .norm_pix_loss = true};

struct Run {
  Mae model{kConfig, 7};
  AdamW optimizer{model, {.clip_grad = 1}};
  const Tensor imgs = raw::normal({12, 3, 32, 48}, RandomKey{1, 0, 1});

  float step(uint32_t iteration) {
    optimizer.begin_step(1e-3);
    optimizer.zero_grad();
    const MaeOutput out = model.forward(imgs, mask_noise(12, kConfig.patches(), 3, iteration));
    backward(out.loss);
    optimizer.update(out.loss);
    optimizer.mark_updated();
    return out.loss.to_vector<float>()[0];
  }
};

TEST_CASE("three steps give the same bits on one thread and on several") {
  const int before = num_threads();
  std::vector<float> losses;
  std::vector<std::vector<float>> weights;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    Run run;
    std::vector<float> these;
    for (uint32_t i = 0; i < 3; ++i) these.push_back(run.step(i));
    std::vector<std::vector<float>> now;
    for (const NamedTensor& p : run.model.state_dict()) now.push_back(p.tensor.to_vector<float>());
    if (threads == 1) {
      losses = these;
      weights = now;
    }
    CHECK(these == losses);
    CHECK((now == weights));  // in brackets: a failure would print 300,000 numbers
  }
  set_num_threads(before);
}

TEST_CASE("a training loop of fixed shapes lives from its own blocks after two steps") {
  Run run;
  CachingAllocator& allocator = backend(Device::kCpu).allocator();
  uint64_t after_two = 0;
  for (uint32_t i = 0; i < 40; ++i) {  // past the 16 steps that trimming looks at
    run.step(i);
    allocator.end_step();
    if (i == 1) after_two = allocator.stats().system_allocations;
  }
  CHECK(allocator.stats().system_allocations == after_two);
}

}  // namespace
}  // namespace tessera
