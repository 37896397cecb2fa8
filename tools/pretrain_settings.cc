// From flags to the settings of a run: new, or resumed; and the file that holds them.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/backend.h"
#include "engine/error.h"
#include "models/presets.h"
#include "tools/pretrain_flags.h"
#include "tools/version.h"
#include "train/run_folder.h"

namespace tessera {

namespace fs = std::filesystem;

namespace {

// What bits depend on beside the settings. Stands in config.toml, so that a resume elsewhere can be
// told from one at home.
std::string machine_line() {
  return fmt::format("# tessera {} on {}", kVersion, backend(Device::kCpu).describe());
}

bool contains_line(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line == wanted) return true;
  }
  return false;
}

}  // namespace

PretrainSettings PretrainFlags::settings() {
  if (!config_file_.empty()) read_config(config_file_);
  PretrainSettings settings = given("resume") ? resumed_run() : new_run();
  const RunOptions& options = settings.options;
  TESSERA_CHECK_USAGE(options.keep >= 1, "--keep {}: at least one checkpoint is kept",
                      options.keep);
  TESSERA_CHECK_USAGE(options.checkpoint_every >= 0, "--checkpoint-every {} must not be negative",
                      options.checkpoint_every);
  constexpr int kMostWorkers = 256;
  TESSERA_CHECK_USAGE(options.workers >= 0 && options.workers <= kMostWorkers,
                      "--workers {} is not in 0..{}", options.workers, kMostWorkers);
  constexpr int64_t kMostCache = int64_t{1} << 30;  // a PiB
  TESSERA_CHECK_USAGE(!given("decoded-cache") ||
                          (options.decoded_cache >= 0 && options.decoded_cache <= kMostCache),
                      "--decoded-cache {} is not in 0..{}", options.decoded_cache, kMostCache);
  return settings;
}

bool PretrainFlags::given(const std::string& name) const {
  return app_.get_option("--" + name)->count() > 0;
}

PretrainSettings PretrainFlags::new_run() const {
  PretrainSettings settings;
  PretrainRecipe& recipe = settings.recipe;
  for (const Flag& flag : flags_) {
    if (flag.name() == "arch" && flag.given()) flag.apply(settings);
  }
  recipe.model = mae_preset(recipe.arch);
  const MaeConfig preset = recipe.model;
  for (const Flag& flag : flags_) {
    if (flag.given()) flag.apply(settings);
  }
  if (!given("patch-size")) {
    recipe.model.patch =
        default_patch(preset.patch, recipe.model.image_height, recipe.model.image_width);
  }
  if (recipe.mean.empty()) recipe.mean = mean_from({"imagenet"}, recipe.model.channels);
  if (recipe.std.empty()) recipe.std = std_from({"imagenet"}, recipe.model.channels);
  return settings;
}

PretrainSettings PretrainFlags::resumed_run() const {
  PretrainSettings typed;
  for (const Flag& flag : flags_) {
    if (flag.given() && flag.role != Role::kResult) flag.apply(typed);
  }
  const std::string& out = typed.options.out;
  TESSERA_CHECK_USAGE(!out.empty(), "--resume: name the run's folder with --out");

  // What the checkpoint does not hold (where the pictures are, how often to save) is in the run's
  // config.toml, and so is everything while there is no checkpoint yet.
  CLI::App scratch;
  PretrainFlags stored(scratch);
  const std::string config = out + "/config.toml";
  const bool has_config = fs::exists(config);
  if (has_config) stored.read_config(config);
  PretrainSettings settings = stored.new_run();
  const bool has_checkpoint = !list_checkpoints(out).empty();
  TESSERA_CHECK_USAGE(has_checkpoint || has_config, "--resume: {} holds no run to go on with", out);
  TESSERA_CHECK_USAGE(has_config || given("data"),
                      "--resume: {} is gone; name the pictures with --data", config);
  if (has_checkpoint) settings.recipe = recipe_of_run(out);

  check_same(settings);
  const MachineFlags before = settings.machine;
  for (const Flag& flag : flags_) {
    if (flag.given() && flag.role != Role::kResult) flag.apply(settings);
  }
  if (has_config && device_from_name(settings.machine.device) != device_from_name(before.device)) {
    settings.options.notes.push_back(
        fmt::format("warning: --device {}: the run was on {}; it goes on, but not bit for bit",
                    settings.machine.device, before.device));
  }
  if (has_config && !contains_line(config, machine_line())) {
    settings.options.notes.push_back(
        "warning: the run was started by another version or on another processor; it goes on, but "
        "not bit for bit");
  }
  return settings;
}

void PretrainFlags::check_same(const PretrainSettings& of_run) const {
  for (const Flag& flag : flags_) {
    if (!flag.given() || flag.role != Role::kResult) continue;
    PretrainSettings typed = of_run;
    flag.apply(typed);
    const Texts now = flag.show(typed), before = flag.show(of_run);
    TESSERA_CHECK_USAGE(
        now == before,
        "--{} {} is not the run's own ({}): --resume takes its settings from the checkpoint",
        flag.name(), fmt::join(now, " "),
        before.empty() ? "not set" : fmt::format("{}", fmt::join(before, " ")));
  }
}

void PretrainFlags::read_config(const std::string& path) {
  std::ifstream file(path);
  TESSERA_CHECK_USAGE(file && fs::is_regular_file(path), "--config {}: no such file", path);
  std::istringstream text(without_comments(file));
  CLI::ConfigTOML reader;
  reader.comment('\0');
  for (const CLI::ConfigItem& item : reader.from_config(text)) {
    CLI::Option* option = app_.get_option_no_throw("--" + item.name);
    const bool known =
        option != nullptr && item.parents.empty() && item.name != "config" && item.name != "help";
    TESSERA_CHECK_USAGE(known, "{}: there is no setting '{}'", path, item.fullname());
    if (option->count() > 0) continue;  // typed flags win
    try {
      option->add_result(item.inputs);
      option->run_callback();
    } catch (const CLI::ParseError& error) {
      throw UsageError(fmt::format("{}: {}", path, error.what()));
    }
  }
}

std::string PretrainFlags::config_text(const PretrainSettings& settings) const {
  PretrainSettings written = settings;
  std::string& data = written.options.data;
  if (!data.starts_with("builtin:")) data = fs::absolute(data).lexically_normal().string();

  std::string text = fmt::format(
      "{}\n# The same again: tessera pretrain mae --config THIS --out NEW\n", machine_line());
  std::string group;
  for (const Flag& flag : flags_) {
    const Texts value = flag.show(written);
    if (flag.role == Role::kStart || value.empty()) continue;
    if (group != flag.option->get_group()) {
      group = flag.option->get_group();
      text += fmt::format("\n# {}\n", group);
    }
    text += fmt::format("{} = {}\n", flag.name(), config_value(value));
  }
  return text;
}

}  // namespace tessera
