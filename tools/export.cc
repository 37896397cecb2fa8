// `tessera export`: a checkpoint's weights alone, under the official names, for other tools.
#include <filesystem>
#include <memory>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/trained_model.h"
#include "train/checkpoint.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Names and shapes are those of the official MAE and BEiT code, so that others can load the\n"
    "file. Where a run kept averaged weights, these are written.\n"
    "\n"
    "Examples:\n"
    "  tessera export --checkpoint runs/photos --out mae.safetensors\n"
    "  tessera export --checkpoint runs/photos --out encoder.safetensors --encoder-only";

struct ExportFlags {
  CheckpointFlags model;
  std::string out;
  bool encoder_only = false;
};

bool is_encoder_weight(const std::string& name) {
  const auto begins = [&name](std::string_view prefix) { return name.starts_with(prefix); };
  return !begins("decoder_") && !begins("decoder.") && !begins("codebook.") &&
         !begins("lm_head.") && !begins("head.") && name != "mask_token";
}

int run(const ExportFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.out.empty(), "--out: name the file to write");
  const std::string path = flags.model.path();
  const Checkpoint checkpoint(path);
  const std::string arch = checkpoint.recipe().value("arch", "model without a name");
  TESSERA_CHECK_USAGE(flags.model.arch.empty() || flags.model.arch == arch,
                      "--arch {}: {} holds a {}", flags.model.arch, path, arch);
  std::error_code ignored;
  TESSERA_CHECK_USAGE(!std::filesystem::equivalent(flags.out, path, ignored),
                      "--out {} is the checkpoint itself", flags.out);
  std::map<std::string, Tensor> weights = checkpoint.weights();
  if (flags.encoder_only) {
    std::erase_if(weights, [](const auto& entry) { return !is_encoder_weight(entry.first); });
  }
  std::vector<SafetensorsTensor> tensors;
  int64_t numbers = 0;
  for (const auto& [name, tensor] : weights) {
    tensors.push_back({name, tensor.dtype(), tensor.shape(), tensor.view().data});
    numbers += tensor.numel();
  }
  // "format" is what other readers of safetensors ask for; the recipe says what the model is.
  write_safetensors(flags.out, tensors, {{"format", "pt"}, {"recipe", checkpoint.recipe().dump()}});
  fmt::print("{}: {} tensors, {:.2f} million numbers, from {}\n", flags.out, tensors.size(),
             static_cast<double>(numbers) * 1e-6, path);
  return 0;
}

}  // namespace

Command add_export(CLI::App& root) {
  CLI::App* app = root.add_subcommand("export", "write a model's weights for other tools");
  app->footer(kNotes);
  const auto flags = std::make_shared<ExportFlags>();
  flags->model.add_to(*app);
  app->add_option("--out", flags->out, "the safetensors file to write")->type_name("FILE");
  app->add_flag("--encoder-only", flags->encoder_only, "leave out decoder, mask token and heads");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
