// The masked autoencoder against numbers of the official PyTorch code (tests/golden/mae_*):
// outputs, loss and every gradient. The bounds are a few times PyTorch's own distance between f32
// and f64.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autograd/tape.h"
#include "engine/backend.h"
#include "models/mae.h"
#include "tests/ops/worst.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

struct Golden {
  explicit Golden(const std::string& name)
      : file("tests/golden/" + name + ".safetensors"), meta(file.metadata()) {}

  Tensor tensor(const std::string& name) const {
    const SafetensorsEntry& entry = file.at(name);
    std::vector<std::byte> bytes(entry.bytes);
    file.read(entry, bytes);
    const Tensor t = Tensor::empty(entry.shape, entry.dtype);
    t.backend().copy_from_host(t.view().data, bytes.data(), bytes.size());
    return t;
  }
  // All tensors under a prefix, by the rest of their name.
  std::map<std::string, Tensor> under(const std::string& prefix) const {
    std::map<std::string, Tensor> found;
    for (const SafetensorsEntry& entry : file.entries()) {
      if (entry.name.starts_with(prefix)) {
        found[entry.name.substr(prefix.size())] = tensor(entry.name);
      }
    }
    return found;
  }
  MaeConfig config() const {
    const auto number = [&](const char* key) { return std::stoll(meta.at(key)); };
    MaeConfig c;
    c.image_height = c.image_width = number("img_size");
    c.patch = number("patch_size");
    c.dim = number("embed_dim");
    c.depth = number("depth");
    c.heads = number("num_heads");
    c.decoder_dim = number("decoder_embed_dim");
    c.decoder_depth = number("decoder_depth");
    c.decoder_heads = number("decoder_num_heads");
    c.norm_pix_loss = meta.at("norm_pix_loss") == "True";
    c.mask_ratio = std::stod(meta.at("mask_ratio"));
    c.norm_eps = std::stod(meta.at("norm_eps"));
    return c;
  }

  SafetensorsReader file;
  Metadata meta;
};

// |have - want| over the largest |want|.
double relative_difference(const Tensor& have, const Tensor& want) {
  REQUIRE(have.shape() == want.shape());
  const auto h = have.to_vector<float>(), w = want.to_vector<float>();
  double difference = 0, largest = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double error = std::abs(double(h[i]) - w[i]);
    if (ops_test::is_worse(error, difference)) difference = error;
    largest = std::max(largest, std::abs(double(w[i])));
  }
  return difference / largest;
}

TEST_CASE("the official MAE's outputs, loss and gradients") {
  const Golden golden(GENERATE(as<std::string>{}, "mae_pixels", "mae_normpix"));
  Mae model(golden.config());
  model.load_state_dict(golden.under("weights/"));
  const Tensor imgs = golden.tensor("input/imgs"), noise = golden.tensor("input/noise");

  const MaeOutput out = model.forward(imgs, noise, true);
  CHECK(out.loss.item() == Approx(golden.tensor("out/loss").item()).epsilon(1e-6));
  CHECK(relative_difference(out.latent, golden.tensor("out/latent")) <= 5e-6);
  CHECK(relative_difference(out.pred, golden.tensor("out/pred")) <= 5e-6);
  CHECK(out.mask.to_vector<float>() == golden.tensor("out/mask").to_vector<float>());
  CHECK(out.ids_restore.to_vector<int64_t>() ==
        golden.tensor("out/ids_restore").to_vector<int64_t>());

  // Training asks for less; its loss and gradients are held to the same numbers.
  const Tensor loss = model.forward(imgs, noise).loss;
  CHECK(loss.item() == Approx(golden.tensor("out/loss").item()).epsilon(1e-6));
  backward(loss);
  auto gradients = golden.under("grad/");
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (!requires_grad(parameter)) continue;
    INFO(name);
    REQUIRE(gradients.contains(name));
    const auto have = grad(parameter).to_vector<float>();
    const auto want = gradients[name].to_vector<float>();
    REQUIRE(have.size() == want.size());
    double distance = 0, norm = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      distance += std::pow(double(have[i]) - want[i], 2);
      norm += std::pow(double(want[i]), 2);
    }
    CHECK(std::sqrt(distance) <= 1e-5 * std::sqrt(norm));
    gradients.erase(name);
  }
  CHECK(gradients.empty());
}

}  // namespace
}  // namespace tessera
