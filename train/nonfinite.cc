// The replay with a check after each op.
#include "train/nonfinite.h"

#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {
namespace {

std::string index_of(const Shape& shape, int64_t at) {
  Dims index = Dims::filled(shape.size(), 0);
  for (int i = shape.size() - 1; i >= 0; --i) {
    index[i] = at % shape[i];
    at /= shape[i];
  }
  return to_string(index);
}

void check_finite(int64_t step, const std::string& what, const Tensor& t) {
  const auto at = raw::first_nonfinite(t);
  if (!at) return;
  const Tensor flat = raw::reshape(t.detach(), {-1});
  throw Error(fmt::format(
      "step {}: {} {} has the value {} at {}; checkpoints saved before it are good", step, what,
      describe(t), raw::select(flat, 0, *at).item(), index_of(t.shape(), *at)));
}

// Checks what each op gives, as long as it lives.
class FiniteCheck final : public OpObserver {
 public:
  explicit FiniteCheck(int64_t step) : step_(step) { set_op_observer(this); }
  ~FiniteCheck() override { set_op_observer(nullptr); }

  void before(const OpRun&) override {}
  void after(const OpRun& run) override {
    for (const Tensor& y : run.outputs) {
      if (!y.defined()) continue;
      check_finite(
          step_, fmt::format("the output of [{}{}],", run.op, run.backward ? " backward" : ""), y);
    }
  }

 private:
  int64_t step_;
};

}  // namespace

void name_first_nonfinite(int64_t step, const AdamW& optimizer,
                          const std::function<void()>& step_again) {
  for (const AdamW::Slot& slot : optimizer.slots()) {
    check_finite(step, "parameter " + slot.name, slot.parameter);
  }
  {
    const FiniteCheck check(step);
    step_again();
  }
  for (const AdamW::Slot& slot : optimizer.slots()) {
    check_finite(step, "the gradient of " + slot.name, slot.gradient);
  }
  throw Error(
      fmt::format("step {}: the gradient norm overflows though each gradient is finite; "
                  "try --clip-grad or a smaller --base-lr; checkpoints saved before it are good",
                  step));
}

}  // namespace tessera
