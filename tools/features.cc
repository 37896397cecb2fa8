// `tessera features`: what an encoder makes of pictures, as a table for other programs.
#include <memory>
#include <nlohmann/json.hpp>

#include "data/open.h"
#include "engine/error.h"
#include "tools/command.h"
#include "tools/encoder_task.h"
#include "tools/flag_values.h"
#include "train/files/atomic_file.h"
#include "train/files/file_io.h"
#include "train/files/npy.h"
#include "train/files/safetensors.h"
#include "train/picture_batches.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "One row a picture, f32, in the order of the sorted names; a picture of another size is "
    "resized\n"
    "and its middle taken. FILE.safetensors holds \"features\", where there are classes "
    "\"labels\",\n"
    "and as metadata the pictures' names and the classes. FILE.npy holds the features alone; "
    "names\n"
    "and classes are in FILE.jsonl, one line a row.\n"
    "\n"
    "Examples:\n"
    "  tessera features --checkpoint runs/photos --data photos/ --out photos.safetensors\n"
    "  tessera features --checkpoint runs/photos --data photos/ --pool tokens --block 6 \\\n"
    "    --out block6.npy";

struct FeaturesFlags {
  EncoderFlags encoder;
  std::string data = "builtin:1000", pool = "both", out;
  int64_t images = -1, block = 0;
};

using nlohmann::ordered_json;

// On one line. A file's name may be any bytes; JSON is UTF-8.
std::string text_of(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

void write_as_safetensors(const FeaturesFlags& flags, int64_t block, const Features& features,
                          const Tensor& table, const EvaluationReader& reader) {
  ordered_json names = ordered_json::array();
  for (const int64_t picture : features.pictures) names.push_back(reader.name(picture));
  Metadata metadata = {
      {"names", text_of(names)}, {"block", std::to_string(block)}, {"pool", flags.pool}};
  std::vector<SafetensorsTensor> tensors = {
      {"features", table.dtype(), table.shape(), table.view().data}};
  if (!reader.class_names().empty()) {
    metadata["classes"] = text_of(reader.class_names());
    tensors.push_back(
        {"labels", DType::kI64, {std::ssize(features.labels)}, features.labels.data()});
  }
  write_safetensors(flags.out, tensors, metadata);
}

void write_as_npy(const std::string& stem, const Features& features, const Tensor& table,
                  const EvaluationReader& reader) {
  std::string lines;
  for (size_t row = 0; row < features.pictures.size(); ++row) {
    ordered_json line = {{"name", reader.name(features.pictures[row])}};
    if (!reader.class_names().empty()) {
      line["label"] = features.labels[row];
      line["class"] = reader.class_names()[static_cast<size_t>(features.labels[row])];
    }
    lines += text_of(line) + "\n";
  }
  write_npy(stem + ".npy", table);
  write_file_atomically(stem + ".jsonl", lines);
}

int run(const FeaturesFlags& flags) {
  const bool safetensors = flags.out.ends_with(".safetensors"), npy = flags.out.ends_with(".npy");
  TESSERA_CHECK_USAGE(!flags.out.empty(), "--out: name the file to write");
  TESSERA_CHECK_USAGE(safetensors || npy, "--out {}: it ends in .safetensors or .npy", flags.out);
  check_place_for_file("--out", flags.out);
  const Pool pool = pool_from_name(flags.pool);
  const EncoderTask task = prepare(flags.encoder);
  const std::vector<int64_t> blocks = task.blocks(flags.block);
  const VitConfig& config = task.config();
  const std::shared_ptr<const Dataset> pictures =
      open_data(flags.data, 0, static_cast<int>(config.image_height),
                static_cast<int>(config.image_width))
          .train;
  say_note(*pictures);
  const EvaluationReader reader = task.reader(pictures);
  const Features features = task.features(
      reader, {spread_over(reader.size(), flags.images), blocks, pool == Pool::kTokens});
  const Tensor table = features.of(0, pool);
  if (safetensors) {
    write_as_safetensors(flags, blocks[0], features, table, reader);
  } else {
    write_as_npy(flags.out.substr(0, flags.out.size() - 4), features, table, reader);
  }
  fmt::print("{}: {} from block {} of {}\n", flags.out, describe(table), blocks[0], task.path);
  return 0;
}

}  // namespace

Command add_features(CLI::App& root) {
  CLI::App* app = root.add_subcommand("features", "write an encoder's features of pictures");
  app->footer(kNotes);
  const auto flags = std::make_shared<FeaturesFlags>();
  flags->encoder.add_to(*app);
  app->add_option("--data", flags->data,
                  "a picture, a folder, CIFAR-10's batches or builtin:N [default: builtin:1000]")
      ->type_name("PATH");
  add_images(*app, &flags->images, "so many, spread over the set [default: all]");
  app->add_option("--out", flags->out, "the .safetensors or .npy file to write")->type_name("FILE");
  app->add_option(
         "--pool", flags->pool,
         "class (token), mean (of the patches), both side by side, or all tokens [default: "
         "both]")
      ->type_name("NAME");
  app->add_option("--block", flags->block, "take the tokens that leave this block [default: last]")
      ->type_name("N");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
