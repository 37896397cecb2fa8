// The flags of a command that trains. Each is declared once: how it is read, which field of the
// settings it fills, how a configuration file writes it. Help, --config, the run's own config.toml
// and the refusals of --resume all follow from that (training_settings.cc).
// What all such commands share is in training_flags.cc; a command derives a class that holds its
// recipe, calls the groups it wants in its constructor and adds flags of its own between them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "models/vit.h"
#include "tools/flag_values.h"
#include "tools/machine_flags.h"
#include "train/mask_schedule.h"
#include "train/training.h"

namespace tessera {

class TrainingFlags {
 public:
  virtual ~TrainingFlags() = default;
  TrainingFlags(const TrainingFlags&) = delete;
  TrainingFlags& operator=(const TrainingFlags&) = delete;

  // Fills recipe, options and machine with what the user typed, completed by the file of --config
  // and, for --resume, by the run itself. Once. UsageError for what makes no sense; CLI::ParseError
  // for a value in a file that does not fit.
  void read();

  // recipe, options and machine as a file for --config.
  std::string config_text() const;

  RunOptions options;
  MachineFlags machine;

 protected:
  // recipe: the derived class's own, which need not be constructed yet.
  TrainingFlags(CLI::App& app, TrainingRecipe& recipe) : app_(app), recipe_(recipe) {}

  enum class Role {
    kResult,  // part of the recipe: a resumed run cannot change it
    kOrigin,  // where the first weights were: once there is a checkpoint, it cannot be changed
    kRun,     // kept with the run, free to change
    kStart,   // this start alone; not written into config.toml
  };

  void add_data_flags();
  void add_normalisation_flags();          // among those of the data
  void add_tower_flags(VitConfig& model);  // among those of the model
  void add_mask_flags(double& ratio, MaskRatioOptions& schedule);
  void add_schedule_flags();
  void add_optimiser_flags();
  void add_run_flags();

  // The title under which help and config.toml show the flags that are added next.
  void begin_group(const std::string& title) { group_ = title; }
  // A number, a word or a switch: a field of the recipe, the run's options or the machine's.
  template <class T>
  void add(const std::string& name, const std::string& unit, const std::string& help, T& field,
           Role role = Role::kResult);
  // One to most_words words, apart by blanks or commas, that a function reads.
  void add_words(const std::string& name, const std::string& unit, const std::string& help,
                 int most_words, std::function<void(const Texts&)> apply,
                 std::function<Texts()> show);
  // A file or folder. config.toml and --resume know it by its absolute path.
  void add_path(const std::string& name, const std::string& unit, const std::string& help,
                std::string& field, Role role);
  // One word that names a value: Augment, DType, ...
  template <class T, class FromName>
  void add_word(const std::string& name, const std::string& help, T& field, FromName from_name) {
    add_words(
        name, "NAME", help, 1,
        [&field, from_name](const Texts& words) { field = from_name(words[0]); },
        [&field] { return Texts{name_of(field)}; });
  }

  bool given(const std::string& name) const;
  // Whether --resume found a checkpoint, which knows all of the recipe.
  bool goes_on() const { return goes_on_; }
  // Whether a file gave settings. A program writes all that it has: what is missing there was not.
  bool has_settings_file() const { return has_settings_file_; }

  // For a new run: the flags that come first have been applied, no other has; and: all have been.
  virtual bool comes_first(const std::string& flag) const { return flag == "arch"; }
  virtual void start_from_arch() = 0;
  virtual void finish_recipe() {}

 private:
  struct Flag {
    CLI::Option* option;
    Role role;
    std::function<void()> apply;
    std::function<Texts()> show;  // empty: not set

    bool given() const { return option->count() > 0; }
    std::string name() const { return option->get_lnames().front(); }
  };

  void finish(Flag flag, const std::string& unit, const std::string& help);
  // Fills the flags that were not typed.
  void read_config(const std::string& path);
  void new_run();
  void resumed_run();
  void check_same();
  void check_options() const;

  CLI::App& app_;
  TrainingRecipe& recipe_;
  std::string group_;        // of the flags being added
  std::vector<Flag> flags_;  // in the order in which they are applied and written
  std::string config_file_;
  bool has_settings_file_ = false;
  bool goes_on_ = false;
};

template <class T>
void TrainingFlags::add(const std::string& name, const std::string& unit, const std::string& help,
                        T& field, Role role) {
  const auto value = std::make_shared<T>();
  CLI::Option* option;
  if constexpr (std::is_same_v<T, bool>) {
    option = app_.add_flag("--" + name, *value);
  } else {
    option = app_.add_option("--" + name, *value);
    if constexpr (std::is_unsigned_v<T>) option->check(not_negative());
  }
  finish({option, role, [&field, value] { field = *value; }, [&field] { return texts_of(field); }},
         unit, help);
}

}  // namespace tessera
