// Single ops in f64: values, and every gradient the file holds, within 1e-9 of the largest.
// Layout: <case>/in/<argument>, <case>/out0, <case>/dout0, <case>/grad/<argument>; listed
// (cases.h).
#include <algorithm>
#include <cmath>
#include <functional>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "nn/layers.h"
#include "tests/golden/cases.h"

namespace tessera::golden {
namespace {

using Json = nlohmann::json;

constexpr double kBound = 1e-9;  // times the largest reference value, at least 1

struct Call {
  std::map<std::string, Tensor> in;
  Json attrs;

  const Tensor& operator[](const std::string& name) const {
    const auto it = in.find(name);
    TESSERA_CHECK(it != in.end(), "has no input {}", name);
    return it->second;
  }
  Tensor maybe(const std::string& name) const { return in.contains(name) ? in.at(name) : Tensor(); }
  int64_t whole(const char* name) const { return attrs.at(name).get<int64_t>(); }
  double number(const char* name) const { return attrs.at(name).get<double>(); }
  double number_or(const char* name, double otherwise) const {
    return attrs.contains(name) ? number(name) : otherwise;
  }
  bool flag(const char* name) const {
    return attrs.contains(name) && attrs.at(name).is_boolean() && attrs.at(name).get<bool>();
  }
  // A list of numbers, or one number.
  Dims dims(const char* name) const {
    const Json& list = attrs.at(name);
    return list.is_array() ? Dims(list.get<std::vector<int64_t>>()) : Dims{list.get<int64_t>()};
  }
};

using Function = std::function<Tensor(const Call&)>;
using Functions = std::map<std::string, Function>;

void add_elementwise(Functions* f) {
#define UNARY(Name, name, saves) (*f)[#name] = [](const Call& c) { return name(c["x"]); };
#define BINARY(Name, name, saves) (*f)[#name] = [](const Call& c) { return name(c["a"], c["b"]); };
#define COMPARE(Name, name) (*f)[#name] = [](const Call& c) { return name(c["a"], c["b"]); };
  TESSERA_UNARY_OPS(UNARY)
  TESSERA_BINARY_OPS(BINARY)
  TESSERA_COMPARE_OPS(COMPARE)
#undef UNARY
#undef BINARY
#undef COMPARE
  (*f)["clamp"] = [](const Call& c) { return clamp(c["x"], c.number("min"), c.number("max")); };
  (*f)["pow"] = [](const Call& c) { return pow(c["x"], c.number("exponent")); };
  (*f)["where"] = [](const Call& c) { return where(c["c"], c["a"], c["b"]); };
}

void add_shape(Functions* f) {
  (*f)["permute"] = [](const Call& c) { return permute(c["x"], c.dims("dims")); };
  (*f)["reshape_of_transposed"] = [](const Call& c) {
    return reshape(transpose(c["x"], 0, 1), c.dims("shape"));
  };
  (*f)["slice"] = [](const Call& c) {
    return slice(c["x"], c.whole("dim"), c.whole("start"), c.whole("stop"), c.whole("step"));
  };
  (*f)["cat"] = [](const Call& c) {
    std::vector<Tensor> parts;
    for (const auto& [name, part] : c.in) parts.push_back(part);  // a, b, ...
    return cat(parts, c.whole("dim"));
  };
  // The expanded tensor is used twice and summed over its new dimension.
  (*f)["expand_sum"] = [](const Call& c) {
    const Tensor e = expand(c["x"], c.dims("shape"));
    return sum(e + e, {0});
  };
  (*f)["flip"] = [](const Call& c) { return flip(c["x"], c.whole("dim")); };
  (*f)["roll"] = [](const Call& c) { return roll(c["x"], c.whole("shift"), c.whole("dim")); };
  (*f)["pad_constant"] = [](const Call& c) {
    const Dims pad = c.dims("pad");  // left, right, top, bottom
    TESSERA_CHECK(pad.size() == 4, "pads {} sides", pad.size());
    return pad2d(c["x"], pad[0], pad[1], pad[2], pad[3]);
  };
  (*f)["unfold_patches"] = [](const Call& c) { return unfold_patches(c["x"], c.whole("patch")); };
}

void add_reductions(Functions* f) {
  (*f)["sum"] = [](const Call& c) { return sum(c["x"], c.dims("dims"), c.flag("keepdim")); };
  (*f)["mean"] = [](const Call& c) { return mean(c["x"], c.dims("dims"), c.flag("keepdim")); };
  (*f)["amax"] = [](const Call& c) { return amax(c["x"], c.dims("dims"), c.flag("keepdim")); };
  (*f)["var"] = [](const Call& c) {
    return var(c["x"], c.dims("dims"), c.flag("keepdim"), c.flag("unbiased"));
  };
  (*f)["softmax"] = [](const Call& c) { return softmax(c["x"], c.whole("dim")); };
  (*f)["log_softmax"] = [](const Call& c) { return log_softmax(c["x"], c.whole("dim")); };
  (*f)["argmax"] = [](const Call& c) { return argmax(c["x"], c.whole("dim"), c.flag("keepdim")); };
  (*f)["argsort"] = [](const Call& c) { return argsort(c["x"], c.whole("dim")); };
  (*f)["cumsum"] = [](const Call& c) { return cumsum(c["x"], c.whole("dim")); };
}

Tensor attend(const Call& c) {
  const Tensor& q = c["q"];
  return attention(q, c["k"], c["v"], c.maybe("bias"),
                   1 / std::sqrt(static_cast<double>(q.size(-1))));
}

void add_products(Functions* f) {
  (*f)["matmul"] = [](const Call& c) { return matmul(c["a"], c["b"]); };
  (*f)["einsum_bhnd_dk"] = (*f)["matmul"];
  (*f)["linear"] = [](const Call& c) { return linear(c["x"], c["w"], c.maybe("b")); };
  (*f)["attention"] = attend;
  (*f)["attention_bias"] = attend;
  (*f)["conv2d"] = [](const Call& c) {
    return conv2d(c["x"], c["w"], c.maybe("b"), c.whole("stride"), c.whole("padding"),
                  c.whole("dilation"), c.whole("groups"));
  };
  (*f)["conv_transpose2d"] = [](const Call& c) {
    return conv_transpose2d(c["x"], c["w"], c.maybe("b"), c.whole("stride"), c.whole("padding"),
                            c.whole("output_padding"));
  };
}

InterpolateMode mode_of(const std::string& name) {
  if (name == "nearest") return InterpolateMode::kNearest;
  if (name == "bilinear") return InterpolateMode::kBilinear;
  TESSERA_CHECK(name == "bicubic", "interpolates in an unknown mode {}", name);
  return InterpolateMode::kBicubic;
}

void add_pictures(Functions* f) {
  (*f)["max_pool2d"] = [](const Call& c) {
    return max_pool2d(c["x"], c.whole("kernel"), c.whole("stride"));
  };
  (*f)["avg_pool2d"] = [](const Call& c) {
    TESSERA_CHECK(c.flag("count_include_pad"), "wants an average without the padding");
    return avg_pool2d(c["x"], c.whole("kernel"), c.whole("stride"), c.whole("padding"));
  };
  (*f)["adaptive_avg_pool2d"] = [](const Call& c) {
    const Dims out = c.dims("output");
    return adaptive_avg_pool2d(c["x"], out[0], out.back());
  };
  (*f)["interpolate"] = [](const Call& c) {
    const Dims size = c.dims("size");
    return interpolate(c["x"], size[0], size.back(), mode_of(c.attrs.at("mode").get<std::string>()),
                       c.flag("align_corners"), c.flag("antialias"));
  };
}

void add_norms_and_losses(Functions* f) {
  (*f)["layer_norm"] = [](const Call& c) {
    return layer_norm(c["x"], c.maybe("w"), c.maybe("b"), c.number("eps"));
  };
  (*f)["batch_norm_train"] = [](const Call& c) {
    return batch_norm_train(c["x"], c.maybe("w"), c.maybe("b"), c.number("eps"));
  };
  (*f)["group_norm"] = [](const Call& c) {
    return group_norm(c["x"], c.whole("groups"), c.maybe("w"), c.maybe("b"), c.number("eps"));
  };
  (*f)["cross_entropy"] = [](const Call& c) {
    return cross_entropy(c["x"], c["y"], c.number_or("label_smoothing", 0));
  };
  (*f)["cross_entropy_ignore"] = [](const Call& c) {
    return cross_entropy(c["x"], c["y"], 0, c.whole("ignore_index"));
  };
  (*f)["soft_cross_entropy"] = [](const Call& c) { return soft_cross_entropy(c["x"], c["t"]); };
  (*f)["mse_loss"] = [](const Call& c) { return mse_loss(c["x"], c["t"]); };
  (*f)["smooth_l1_loss"] = [](const Call& c) {
    return smooth_l1_loss(c["x"], c["t"], c.number_or("beta", 1));
  };
  (*f)["kl_div_log_target_batchmean"] = [](const Call& c) {
    return kl_div_log_target_batchmean(c["x"], c["t"]);
  };
  (*f)["dropout_eval"] = [](const Call& c) {
    Dropout dropout(c.number("p"));
    dropout.set_training(false);
    return dropout(c["x"]);
  };
}

void add_indexing(Functions* f) {
  (*f)["embedding"] = [](const Call& c) { return embedding(c["w"], c["i"]); };
  (*f)["gather"] = [](const Call& c) { return gather(c["x"], c.whole("dim"), c["i"]); };
  (*f)["index_select"] = [](const Call& c) { return index_select(c["x"], c.whole("dim"), c["i"]); };
  (*f)["scatter_add"] = [](const Call& c) {
    return scatter_add(c["x"], c.whole("dim"), c["i"], c["s"]);
  };
  (*f)["masked_select_rows"] = [](const Call& c) { return masked_select_rows(c["x"], c["m"]); };
}

const Functions& functions() {
  static const Functions table = [] {
    Functions f;
    for (auto* add : {add_elementwise, add_shape, add_reductions, add_products, add_pictures,
                      add_norms_and_losses, add_indexing}) {
      add(&f);
    }
    return f;
  }();
  return table;
}

std::string fault_near(const Tensor& have, const Tensor& want) {
  return fault_within(have, want, kBound * std::max(1.0, largest(want)));
}

std::string run_case(const File& file, const Case& c, Device device) {
  Call call{file.under(c.name + "/in/", device), c.attrs};
  const auto gradients = file.under(c.name + "/grad/", device);
  for (const auto& [argument, gradient] : gradients) set_requires_grad(call[argument]);
  TESSERA_CHECK(!file.has(c.name + "/out1"), "has a second result");
  const Tensor y = functions().at(c.op)(call);
  std::string fault = fault_near(y, file.tensor(c.name + "/out0", device));
  if (!fault.empty()) return "the result " + fault;
  if (gradients.empty()) return "";
  backward(y, file.tensor(c.name + "/dout0", device));
  for (const auto& [argument, gradient] : gradients) {
    fault = fault_near(grad(call[argument]), gradient);
    if (!fault.empty()) return "the gradient of " + argument + " " + fault;
  }
  return "";
}

}  // namespace

void run_ops(const File& file, Device device, Report& report) {
  run_cases(
      file, report, [](const std::string& op) { return functions().contains(op); },
      [&](const Case& c) { return run_case(file, c, device); });
}

}  // namespace tessera::golden
