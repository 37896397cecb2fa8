// The first gradient: two tensors, their product, one number, and how that number changes with
// each element of the two. The tour begins here (docs/tour.md) and shows this program's output.
#include <fmt/format.h>

#include "autograd/functions.h"
#include "autograd/tape.h"

int main() {
  using namespace tessera;
  const Tensor a = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor b = Tensor::from<float>({10, 0, -1}, {3});
  set_requires_grad(a);
  set_requires_grad(b);

  const Tensor y = a * b;  // (2, 3): b is used once for each row
  const Tensor loss = sum(y);
  fmt::print("a = {}\nb = {}\na * b = {}\nloss = {}\n", to_string(a), to_string(b), to_string(y),
             to_string(loss));

  backward(loss);
  fmt::print("d loss / da = {}\nd loss / db = {}\n", to_string(grad(a)), to_string(grad(b)));
}
