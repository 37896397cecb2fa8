// Blocks, the two halves, and the logit-Laplace distribution.
#include "models/dalle.h"

#include <cmath>

#include "autograd/functions.h"
#include "engine/raw.h"
#include "models/config.h"
#include "nn/init.h"

namespace tessera {
namespace {

constexpr double kEps = 0.1;  // logit_laplace_eps: pictures are squeezed into [eps, 1 - eps]

constexpr std::array<int64_t, 4> kEncoderKernels = {3, 3, 3, 1};
constexpr std::array<int64_t, 4> kDecoderKernels = {1, 3, 3, 3};

}  // namespace

void DalleConfig::check() const {
  TESSERA_CHECK_USAGE(channels > 0 && decoder_width > 0 && blocks_per_group > 0,
                      "tokenizer channels {}, decoder width {} and {} blocks a group must all be "
                      "positive",
                      channels, decoder_width, blocks_per_group);
  TESSERA_CHECK_USAGE(width > 0 && width % 4 == 0, "tokenizer width {} is no multiple of 4", width);
  TESSERA_CHECK_USAGE(vocab > 1, "a vocabulary of {} tokens leaves nothing to choose", vocab);
}

DalleConv::DalleConv(int64_t in, int64_t out, int64_t kernel) : padding_((kernel - 1) / 2) {
  add_parameter("w", w_, {out, in, kernel, kernel});
  add_parameter("b", b_, {out});
}

Tensor DalleConv::operator()(const Tensor& x) const { return conv2d(x, w_, b_, 1, padding_); }

DalleBlock::DalleBlock(int64_t in, int64_t out, const std::array<int64_t, 4>& kernels, double gain)
    : gain_(gain) {
  if (in != out) {
    id_path_.emplace(in, out, 1);
    add_child("id_path", *id_path_);
  }
  add_child("res_path", res_path_);
  const int64_t inner = out / 4;
  for (size_t i = 0; i < kernels.size(); ++i) {
    convs_.emplace_back(i == 0 ? in : inner, i == 3 ? out : inner, kernels[i]);
    res_path_.add_child(fmt::format("conv_{}", i + 1), convs_.back());
  }
}

Tensor DalleBlock::operator()(const Tensor& x) const {
  Tensor y = x;
  for (const DalleConv& conv : convs_) y = conv(relu(y));
  return (id_path_ ? (*id_path_)(x) : x) + y * gain_;
}

DalleHalf::DalleHalf(const DalleConfig& c, Kind kind)
    : kind_(kind),
      first_(kind == kEncoder ? c.channels : c.vocab, kind == kEncoder ? c.width : c.decoder_width,
             kind == kEncoder ? 7 : 1),
      last_(kind == kEncoder ? 8 * c.width : c.width, kind == kEncoder ? c.vocab : 2 * c.channels,
            1) {
  add_child("blocks", blocks_);
  blocks_.add_child("input", first_);
  const double layers = 4.0 * double(c.blocks_per_group);
  int64_t in = kind == kEncoder ? c.width : c.decoder_width;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const int64_t out = c.width << (kind == kEncoder ? g : 3 - g);
    blocks_.add_child(fmt::format("group_{}", g + 1), groups_[g]);
    for (int64_t i = 0; i < c.blocks_per_group; ++i) {
      DalleBlock& block = group_blocks_[g].emplace_back(
          in, out, kind == kEncoder ? kEncoderKernels : kDecoderKernels, 1 / (layers * layers));
      groups_[g].add_child(fmt::format("block_{}", i + 1), block);
      in = out;
    }
  }
  blocks_.add_child("output", output_);
  output_.add_child("conv", last_);
}

Tensor DalleHalf::operator()(const Tensor& input) const {
  Tensor x = first_(input);
  for (size_t g = 0; g < group_blocks_.size(); ++g) {
    if (g > 0 && kind_ == kEncoder) x = max_pool2d(x, 2, 2);
    if (g > 0 && kind_ == kDecoder) {
      x = interpolate(x, 2 * x.size(2), 2 * x.size(3), InterpolateMode::kNearest);
    }
    for (const DalleBlock& block : group_blocks_[g]) x = block(x);
  }
  return last_(relu(x));
}

Dalle::Dalle(const DalleConfig& config)
    : config_(checked(config)),
      encoder_(config, DalleHalf::kEncoder),
      decoder_(config, DalleHalf::kDecoder) {
  add_child("encoder", encoder_);
  add_child("decoder", decoder_);
}

Dalle::Dalle(const DalleConfig& config, uint64_t seed) : Dalle(config) { initialize(seed); }

void Dalle::initialize(uint64_t seed) {
  init::for_each_tensor(*this, seed, [](const init::Entry& entry) {
    const Tensor& t = entry.tensor;
    if (t.ndim() == 4) {
      init::normal_(t, entry.key, 0, 1 / std::sqrt(double(t.numel() / t.size(0))));
    } else {
      raw::fill_(t, 0);
    }
  });
}

Tensor Dalle::prepare(const Tensor& pictures) const { return pictures * (1 - 2 * kEps) + kEps; }

Tensor Dalle::logits(const Tensor& prepared) const {
  check_pictures(prepared, config_.channels);
  return encoder_(prepared);
}

Tensor Dalle::paint(const Tensor& mixture) const { return decoder_(mixture); }

Tensor Dalle::reconstruction_loss(const Tensor& raw, const Tensor& x) const {
  const Tensor mu = slice(raw, 1, 0, config_.channels);
  const Tensor ln_b = slice(raw, 1, config_.channels, 2 * config_.channels);
  const Tensor ln_x = log(x), ln_rest = log(-x + 1);  // logit(x) = ln x - ln(1 - x)
  return mean(ln_b + ln_x + ln_rest + abs(ln_x - ln_rest - mu) * exp(-ln_b)) + std::log(2.0);
}

Tensor Dalle::picture(const Tensor& raw) const {
  const Tensor mu = slice(raw, 1, 0, config_.channels);
  return clamp((sigmoid(mu) - kEps) / (1 - 2 * kEps), 0, 1);
}

}  // namespace tessera
