// `tessera info`: the program and the machine it runs on, or what a checkpoint holds.
// Rule: starts in well under 0.2 s: it asks, it measures nothing.
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "engine/backend.h"
#include "engine/error.h"
#include "models/flops.h"
#include "tools/command.h"
#include "tools/machine_flags.h"
#include "tools/trained_model.h"
#include "tools/version.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Examples:\n"
    "  tessera info\n"
    "  tessera info --checkpoint runs/photos";

struct InfoFlags {
  CheckpointFlags model;
  MachineFlags machine;
};

void row(std::string_view name, const std::string& value) {
  fmt::print("{:<12} {}\n", name, value);
}

// The flags that change the code, as the compiler itself reports them.
std::string build_flags() {
  std::string flags;
#ifdef __OPTIMIZE__
  flags += "optimised";
#else
  flags += "not optimised";
#endif
#ifdef NDEBUG
  flags += ", NDEBUG";
#endif
#if defined(__AVX512F__)
  flags += ", AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
  flags += ", x86-64-v3 (AVX2, FMA)";
#endif
#ifdef __SANITIZE_ADDRESS__
  flags += ", address sanitizer";
#endif
#ifdef __SANITIZE_THREAD__
  flags += ", thread sanitizer";
#endif
  return flags;
}

// Those of the processor's features that decide which kernels run.
std::string cpu_features() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("flags")) continue;
    std::string found;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const bool vector_set = word.starts_with("avx") || word.starts_with("amx");
      if (vector_set || word == "fma" || word == "f16c") found += (found.empty() ? "" : " ") + word;
    }
    return found;
  }
  return "unknown";
}

std::string gigabytes(int64_t bytes) {
  return bytes > 0 ? fmt::format("{:.1f} GB", static_cast<double>(bytes) * 1e-9) : "unknown";
}

void print_machine() {
  row("tessera", kVersion);
  row("compiler", fmt::format("g++ {}", __VERSION__));
  row("build", build_flags());
  row("features", cpu_features());
  row("threads", fmt::format("{}", num_threads()));
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    const std::string why = why_unavailable(device);
    row(name_of(device), why.empty() ? backend(device).describe() : why);
  }
  row("memory", fmt::format("{} free", gigabytes(available_memory_bytes())));
}

// What every training has, and what makes a MAE.
void print_recipe(const TrainingRecipe& recipe) {
  row("input", fmt::format("(x - [{}]) / [{}], x in [0, 1]", fmt::join(recipe.mean, ", "),
                           fmt::join(recipe.std, ", ")));
  row("data", fmt::format("{}, holdout {}, augment {}", recipe.data_id, recipe.holdout,
                          name_of(recipe.augment)));
  row("recipe", fmt::format("batch {} x {}, base lr {}, weight decay {}, betas {} {}, seed {}",
                            recipe.batch_size, recipe.accumulate, recipe.base_lr,
                            recipe.weight_decay, recipe.beta1, recipe.beta2, recipe.seed));
}

void print_mae(const MaeRecipe& recipe) {
  const MaeConfig& model = recipe.model;
  const ModelCost cost = cost_of(model);
  row("model",
      fmt::format("{}, {:.2f} million parameters, {:.2f} GFLOP a picture and step", recipe.arch,
                  static_cast<double>(cost.parameters) * 1e-6, cost.step_flops * 1e-9));
  row("pictures", fmt::format("{}x{}, {} channels, patches of {}: {}, of which {} are visible",
                              model.image_height, model.image_width, model.channels, model.patch,
                              model.patches(), model.kept()));
  row("encoder", fmt::format("{} wide, {} blocks, {} heads", model.dim, model.depth, model.heads));
  row("decoder", fmt::format("{} wide, {} blocks, {} heads", model.decoder_dim, model.decoder_depth,
                             model.decoder_heads));
  row("targets", model.norm_pix_loss ? "pixels normalised patch by patch" : "pixels");
  print_recipe(recipe);
}

void print_checkpoint(const CheckpointFlags& flags) {
  const std::string path = flags.path();
  const Checkpoint checkpoint(path);
  const nlohmann::json& recipe = checkpoint.recipe();
  const std::string task = task_of(recipe);
  MaeRecipe mae;
  if (task == mae.task()) mae = open_checkpoint(flags).recipe;
  row("file", path);
  row("size", fmt::format("{:.1f} MB, {} tensors",
                          static_cast<double>(std::filesystem::file_size(path)) * 1e-6,
                          checkpoint.file().entries().size()));
  row("task", task);
  const int64_t max_steps = recipe.value("max-steps", int64_t{0});
  row("step", fmt::format("{}{}", checkpoint.step(),
                          max_steps > 0 ? fmt::format(" of {}", max_steps)
                                        : fmt::format(", a run of {} epochs",
                                                      recipe.value("epochs", int64_t{0}))));
  if (task == mae.task()) return print_mae(mae);
  for (const auto& [key, value] : recipe.items()) {
    row(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

}  // namespace

Command add_info(CLI::App& root) {
  CLI::App* app = root.add_subcommand("info", "describe this program and machine, or a checkpoint");
  app->footer(kNotes);
  const auto flags = std::make_shared<InfoFlags>();
  flags->model.add_to(*app);
  flags->machine.add_to(*app);
  return {app, [flags] {
            flags->machine.apply();
            if (flags->model.checkpoint.empty()) {
              print_machine();
            } else {
              print_checkpoint(flags->model);
            }
            return 0;
          }};
}

}  // namespace tessera
