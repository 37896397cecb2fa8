// The flags of `tessera pretrain mae`. Each is declared once (pretrain_flags.cc): how it is read,
// which field of the settings it fills, how a configuration file writes it. Help, --config, the
// run's own config.toml and the refusals of --resume all follow from that (pretrain_settings.cc).
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tools/flag_values.h"
#include "tools/machine_flags.h"
#include "train/pretrain.h"

namespace tessera {

struct PretrainSettings {
  PretrainRecipe recipe;
  RunOptions options;
  MachineFlags machine;
};

class PretrainFlags {
 public:
  // Adds the flags to the command.
  explicit PretrainFlags(CLI::App& app);

  // What the user typed, completed by the file of --config and, for --resume, by the run itself.
  // UsageError for what makes no sense; CLI::ParseError for a value in a file that does not fit.
  PretrainSettings settings();

  // The settings as a file for --config.
  std::string config_text(const PretrainSettings& settings) const;

 private:
  enum class Role {
    kResult,  // part of the recipe: a resumed run cannot change it
    kRun,     // kept with the run, free to change
    kStart,   // this start alone; not written into config.toml
  };
  struct Flag {
    CLI::Option* option;
    Role role;
    std::function<void(PretrainSettings&)> apply;
    std::function<Texts(const PretrainSettings&)> show;  // empty: not set

    bool given() const { return option->count() > 0; }
    std::string name() const { return option->get_lnames().front(); }
  };

  void add_data_flags();
  void add_model_flags();
  void add_schedule_flags();
  void add_optimiser_flags();
  void add_run_flags();

  // A number, a word or a switch that is a field of the model, the recipe, the run's options or the
  // machine's.
  template <class Owner, class T>
  void add(const std::string& name, const std::string& unit, const std::string& help,
           T Owner::*field, Role role = default_role<Owner>());
  // One to most_words words, apart by blanks or commas, that a function reads.
  void add_words(const std::string& name, const std::string& unit, const std::string& help,
                 int most_words, std::function<void(PretrainSettings&, const Texts&)> apply,
                 std::function<Texts(const PretrainSettings&)> show);
  void finish(Flag flag, const std::string& unit, const std::string& help);

  template <class Owner>
  static constexpr Role default_role() {
    return std::is_same_v<Owner, MaeConfig> || std::is_same_v<Owner, PretrainRecipe> ? Role::kResult
                                                                                     : Role::kRun;
  }

  bool given(const std::string& name) const;
  // Fills the flags that were not typed.
  void read_config(const std::string& path);
  PretrainSettings new_run() const;
  PretrainSettings resumed_run() const;
  void check_same(const PretrainSettings& of_run) const;

  CLI::App& app_;
  std::string group_;        // of the flags being added
  std::vector<Flag> flags_;  // in the order in which they are applied and written
  std::string config_file_;
};

}  // namespace tessera
