// Where a NaN or Inf was born: a step is run again and every op's output looked at.
#pragma once

#include <cstdint>
#include <functional>

#include "train/adamw.h"

namespace tessera {

// Runs `step_again` (forward and backward of step number `step`, from unchanged weights) with a
// check after each op, and throws an Error that names the step, the op, the tensor, its shape and
// the first bad index; a parameter that is bad already is named first.
[[noreturn]] void name_first_nonfinite(int64_t step, const AdamW& optimizer,
                                       const std::function<void()>& step_again);

}  // namespace tessera
