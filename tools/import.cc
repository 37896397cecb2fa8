// `tessera import`: models that others have published, as checkpoints.
#include <filesystem>
#include <memory>
#include <system_error>

#include "engine/error.h"
#include "tools/command.h"
#include "train/checkpoint.h"
#include "train/files/file_io.h"
#include "train/files/naming.h"
#include "train/files/torch_file.h"
#include "train/published.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Known are MAE's and BEiT's pre-trained models, as their repositories publish them (.pth), "
    "and\n"
    "DALL-E's tokenizer (encoder.pkl and decoder.pkl); also as .safetensors of the same names. "
    "What\n"
    "the model is follows from its tensors. The file that is written is a checkpoint like any\n"
    "other, for finetune, probe, features, attention, reconstruct and --tokenizer. No code of a\n"
    "foreign file is run.\n"
    "\n"
    "Examples:\n"
    "  tessera import mae_visualize_vit_base.pth --norm-pix-loss --out mae.safetensors\n"
    "  tessera import beit_base_patch16_224_pt22k.pth --out beit.safetensors\n"
    "  tessera import encoder.pkl decoder.pkl --out dalle.safetensors";

struct ImportFlags {
  std::vector<std::string> files;
  std::string out;
  PublishedOptions options;
};

StateDict read(const std::string& path) {
  if (!path.ends_with(".safetensors")) return read_torch_file(path);
  return read_tensors(SafetensorsReader(path), [](const std::string&) { return true; });
}

int run(const ImportFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.files.empty(), "name the file to import");
  TESSERA_CHECK_USAGE(flags.out.ends_with(".safetensors"),
                      "--out: name the .safetensors file to write");
  check_place_for_file("--out", flags.out);
  for (const std::string& path : flags.files) {
    std::error_code ignored;
    TESSERA_CHECK_USAGE(!std::filesystem::equivalent(flags.out, path, ignored),
                        "--out {} is one of the files to import", flags.out);
  }
  std::vector<StateDict> files;
  for (const std::string& path : flags.files) files.push_back(read(path));
  const std::string names = fmt::format("{}", fmt::join(flags.files, ", "));
  const PublishedModel model = naming(names, [&] { return published_model(files, flags.options); });
  save_weights(flags.out, model.weights, to_json(*model.recipe));
  int64_t numbers = 0;
  for (const NamedTensor& weight : model.weights) numbers += weight.tensor.numel();
  const TrainingRecipe::PictureShape shape = model.recipe->picture_shape();
  fmt::print("{}: {} for pictures of {}x{}, {} tensors, {:.2f} million numbers\n", flags.out,
             model.what, shape.height, shape.width, model.weights.size(),
             static_cast<double>(numbers) * 1e-6);
  return 0;
}

}  // namespace

Command add_import(CLI::App& root) {
  CLI::App* app = root.add_subcommand("import", "a published model as a checkpoint");
  app->footer(kNotes);
  const auto flags = std::make_shared<ImportFlags>();
  app->add_option("FILE", flags->files, "what was published; DALL-E's tokenizer has two files");
  app->add_option("--heads", flags->options.heads,
                  "attention heads [default: those of the named size that it has]")
      ->type_name("N");
  app->add_option("--decoder-heads", flags->options.decoder_heads, "the same of a MAE's decoder")
      ->type_name("N");
  app->add_flag("--norm-pix-loss", flags->options.norm_pix_loss,
                "a MAE that learned normalised patches");
  app->add_option("--out", flags->out, "the .safetensors file to write")->type_name("FILE");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
