// From flags to the settings of a run: new, or resumed; and the file that holds them.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/backend.h"
#include "engine/error.h"
#include "tools/training_flags.h"
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

// What was typed, set aside while the same flags read something else.
class TypedFlags {
 public:
  void take(CLI::Option* option) {
    if (option->count() == 0) return;
    typed_.emplace_back(option, option->results());
    option->clear();
  }
  void give_back() const {
    for (const auto& [option, words] : typed_) {
      option->clear();
      option->add_result(words);
      option->run_callback();
    }
  }

 private:
  std::vector<std::pair<CLI::Option*, Texts>> typed_;
};

}  // namespace

void TrainingFlags::read() {
  if (!config_file_.empty()) read_config(config_file_);
  if (given("resume")) {
    resumed_run();
  } else {
    new_run();
  }
  check_options();
  options.device = machine.apply();
  options.config_text = config_text();
}

void TrainingFlags::check_options() const {
  TESSERA_CHECK_USAGE(options.keep >= 1, "--keep {}: at least one checkpoint is kept",
                      options.keep);
  TESSERA_CHECK_USAGE(options.checkpoint_every >= 0, "--checkpoint-every {} must not be negative",
                      options.checkpoint_every);
  TESSERA_CHECK_USAGE(options.probe_every >= 0, "--probe-every {} must not be negative",
                      options.probe_every);
  constexpr int kMostWorkers = 256;
  TESSERA_CHECK_USAGE(options.workers >= 0 && options.workers <= kMostWorkers,
                      "--workers {} is not in 0..{}", options.workers, kMostWorkers);
  constexpr int64_t kMostCache = int64_t{1} << 30;  // a PiB
  TESSERA_CHECK_USAGE(!given("decoded-cache") ||
                          (options.decoded_cache >= 0 && options.decoded_cache <= kMostCache),
                      "--decoded-cache {} is not in 0..{}", options.decoded_cache, kMostCache);
}

bool TrainingFlags::given(const std::string& name) const {
  const CLI::Option* option = app_.get_option_no_throw("--" + name);
  return option != nullptr && option->count() > 0;
}

void TrainingFlags::new_run() {
  for (const Flag& flag : flags_) {
    if (comes_first(flag.name()) && flag.given()) flag.apply();
  }
  start_from_arch();
  for (const Flag& flag : flags_) {
    if (flag.given()) flag.apply();
  }
  finish_recipe();
  const int64_t channels = recipe_.picture_shape().channels;
  if (recipe_.mean.empty()) recipe_.mean = mean_from({"imagenet"}, channels);
  if (recipe_.std.empty()) recipe_.std = std_from({"imagenet"}, channels);
}

void TrainingFlags::resumed_run() {
  for (const Flag& flag : flags_) {
    if (flag.given() && flag.name() == "out") flag.apply();
  }
  const std::string out = options.out;
  TESSERA_CHECK_USAGE(!out.empty(), "--resume: name the run's folder with --out");
  const bool data_named = given("data");
  goes_on_ = !list_checkpoints(out).empty();
  // Another task's run is refused by name, before its settings are taken for this one's.
  if (goes_on_) read_recipe_of_run(recipe_, out);

  // What the checkpoint does not hold (where the pictures are, how often to save) is in the run's
  // config.toml, and so is everything while there is no checkpoint yet.
  TypedFlags typed;
  for (const Flag& flag : flags_) typed.take(flag.option);
  const std::string config = out + "/config.toml";
  const bool has_config = fs::exists(config);
  if (has_config) read_config(config);
  new_run();
  for (const Flag& flag : flags_) flag.option->clear();
  typed.give_back();

  TESSERA_CHECK_USAGE(goes_on_ || has_config, "--resume: {} holds no run to go on with", out);
  TESSERA_CHECK_USAGE(has_config || data_named,
                      "--resume: {} is gone; name the pictures with --data", config);
  if (goes_on_) read_recipe_of_run(recipe_, out);

  check_same();
  const MachineFlags before = machine;
  for (const Flag& flag : flags_) {
    if (flag.given() && flag.role != Role::kResult) flag.apply();
  }
  if (has_config && device_from_name(machine.device) != device_from_name(before.device)) {
    options.notes.push_back(
        fmt::format("warning: --device {}: the run was on {}; it goes on, but not bit for bit",
                    machine.device, before.device));
  }
  if (has_config && !contains_line(config, machine_line())) {
    options.notes.push_back(
        "warning: the run was started by another version or on another processor; it goes on, but "
        "not bit for bit");
  }
}

// Each typed flag of the recipe must say what the run's own recipe says, and the weights' origin
// what its config.toml says.
void TrainingFlags::check_same() {
  const nlohmann::json of_run = to_json(recipe_);
  for (const Flag& flag : flags_) {
    const bool fixed = flag.role == Role::kResult || (flag.role == Role::kOrigin && goes_on_);
    if (!flag.given() || !fixed) continue;
    const Texts before = flag.show();
    flag.apply();
    const Texts now = flag.show();
    read_recipe(recipe_, of_run);
    TESSERA_CHECK_USAGE(
        now == before,
        "--{} {} is not the run's own ({}): --resume takes its settings from the checkpoint",
        flag.name(), fmt::join(now, " "),
        before.empty() ? "not set" : fmt::format("{}", fmt::join(before, " ")));
  }
}

void TrainingFlags::read_config(const std::string& path) {
  std::ifstream file(path);
  TESSERA_CHECK_USAGE(file && fs::is_regular_file(path), "--config {}: no such file", path);
  std::istringstream text(without_comments(file));
  has_settings_file_ = true;
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

std::string TrainingFlags::config_text() const {
  std::string text = fmt::format("{}\n# The same again: tessera {} --config THIS --out NEW\n",
                                 machine_line(), recipe_.command());
  std::string group;
  for (const Flag& flag : flags_) {
    const Texts value = flag.show();
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
