// A model in one file: a module of two layers, its names, its initial weights, and a training loop
// that fits sin(x). Everything larger in this project is made of the same five steps a loop
// (docs/add_a_model.md). Exit status 1 if it does not learn.
#include <fmt/format.h>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "train/adamw.h"

namespace {

using namespace tessera;

class CurveNet : public Module {
 public:
  CurveNet() : fc1_(1, 32), fc2_(32, 1) {
    add_child("fc1", fc1_);
    add_child("fc2", fc2_);
    init::for_each_tensor(*this, /*seed=*/0, [](const init::Entry& entry) {
      init::uniform_(entry.tensor, entry.key, -1, 1);
    });
  }
  Tensor operator()(const Tensor& x) const { return fc2_(tanh(fc1_(x))); }  // (B, 1) -> (B, 1)

 private:
  Linear fc1_, fc2_;
};

}  // namespace

int main() {
  CurveNet net;
  for (const NamedTensor& p : net.named_parameters()) {
    fmt::print("{:<12} {}\n", p.name, describe(p.tensor));
  }
  AdamW optimizer(net, {});
  double loss_now = 0;
  for (uint32_t step = 0; step < 500; ++step) {
    const Tensor x = raw::uniform({256, 1}, {/*seed=*/0, step, kFirstStepSite}, -3, 3);
    optimizer.zero_grad();
    const Tensor loss = mse_loss(net(x), sin(x));
    backward(loss);
    optimizer.step(/*lr=*/0.01);
    loss_now = loss.item();
    if (step % 100 == 0) fmt::print("step {:3}: loss {:.4f}\n", step, loss_now);
  }
  fmt::print("at the end: loss {:.4f}\n", loss_now);
  return loss_now < 0.005 ? 0 : 1;
}
