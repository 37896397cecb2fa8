// The table of flags.
#include "tools/pretrain_flags.h"

#include "models/presets.h"

namespace tessera {
namespace {

constexpr size_t kHelpWidth = 70;  // columns beside the names

// The part of the settings that a field belongs to.
template <class Owner, class Settings>
auto& part_of(Settings& settings) {
  if constexpr (std::is_same_v<Owner, MaeConfig>) {
    return settings.recipe.model;
  } else if constexpr (std::is_same_v<Owner, PretrainRecipe>) {
    return settings.recipe;
  } else if constexpr (std::is_same_v<Owner, RunOptions>) {
    return settings.options;
  } else {
    return settings.machine;
  }
}

}  // namespace

PretrainFlags::PretrainFlags(CLI::App& app) : app_(app) {
  add_data_flags();
  add_model_flags();
  add_schedule_flags();
  add_optimiser_flags();
  add_run_flags();
}

void PretrainFlags::finish(Flag flag, const std::string& unit, const std::string& help) {
  const Texts value = flag.show(PretrainSettings{});
  const bool is_switch = flag.option->get_expected_min() == 0;
  const bool says_default = help.find("[default") != help.npos;
  std::string text = help;
  if (!is_switch && !says_default && !value.empty()) {
    const std::string shown = fmt::format("[default: {}]", fmt::join(value, " "));
    const size_t line = text.size() - (text.rfind('\n') + 1);  // npos + 1 is 0
    text += (line + shown.size() > kHelpWidth ? '\n' : ' ') + shown;
  }
  flag.option->description(text)->group(group_);
  if (flag.option->get_expected_max() == 1) flag.option->take_last();  // typed twice: as in a shell
  if (!is_switch) flag.option->type_name(unit);
  flags_.push_back(std::move(flag));
}

template <class Owner, class T>
void PretrainFlags::add(const std::string& name, const std::string& unit, const std::string& help,
                        T Owner::*field, Role role) {
  const auto value = std::make_shared<T>();
  CLI::Option* option;
  if constexpr (std::is_same_v<T, bool>) {
    option = app_.add_flag("--" + name, *value);
  } else {
    option = app_.add_option("--" + name, *value);
    if constexpr (std::is_unsigned_v<T>) option->check(not_negative());
  }
  finish({option, role, [=](PretrainSettings& s) { part_of<Owner>(s).*field = *value; },
          [=](const PretrainSettings& s) { return texts_of(part_of<Owner>(s).*field); }},
         unit, help);
}

void PretrainFlags::add_words(const std::string& name, const std::string& unit,
                              const std::string& help, int most_words,
                              std::function<void(PretrainSettings&, const Texts&)> apply,
                              std::function<Texts(const PretrainSettings&)> show) {
  const auto words = std::make_shared<Texts>();
  CLI::Option* option =
      app_.add_option("--" + name, *words)->expected(1, most_words)->delimiter(',');
  finish({option, Role::kResult, [=](PretrainSettings& s) { apply(s, *words); }, std::move(show)},
         unit, help);
}

void PretrainFlags::add_data_flags() {
  group_ = "Data";
  add("data", "PATH",
      "folder of pictures, flat or one subfolder a class;\n"
      "folder of CIFAR-10 batches (*.bin); builtin: or builtin:N, drawn",
      &RunOptions::data);
  add("holdout", "SHARE", "of each class, the last by name, kept for evaluation",
      &PretrainRecipe::holdout);
  add_words(
      "image-size", "N|HxW", "pixels", 1,
      [](PretrainSettings& s, const Texts& words) { set_image_size(s.recipe.model, words[0]); },
      [](const PretrainSettings& s) { return Texts{image_size_text(s.recipe.model)}; });
  add("channels", "N", "3 colours or 1 grey", &MaeConfig::channels);
  add_words(
      "augment", "NAME", "none, crop-flip or shift-flip", 1,
      [](PretrainSettings& s, const Texts& words) {
        s.recipe.augment = augment_from_name(words[0]);
      },
      [](const PretrainSettings& s) { return Texts{name_of(s.recipe.augment)}; });
  add_words(
      "crop-scale", "LOW HIGH", "share of the area that a random crop takes", 2,
      [](PretrainSettings& s, const Texts& words) {
        s.recipe.crop_scale = two_numbers("--crop-scale", words);
      },
      [](const PretrainSettings& s) { return texts_of(s.recipe.crop_scale); });
  add_words(
      "mean", "VALUES",
      "subtracted from [0, 1] values: one a channel, imagenet or cifar\n"
      "[default: imagenet]",
      8,
      [](PretrainSettings& s, const Texts& words) {
        s.recipe.mean = mean_from(words, s.recipe.model.channels);
      },
      [](const PretrainSettings& s) { return texts_of(s.recipe.mean); });
  add_words(
      "std", "VALUES",
      "then divided by: one a channel, imagenet or cifar\n"
      "[default: imagenet]",
      8,
      [](PretrainSettings& s, const Texts& words) {
        s.recipe.std = std_from(words, s.recipe.model.channels);
      },
      [](const PretrainSettings& s) { return texts_of(s.recipe.std); });
}

void PretrainFlags::add_model_flags() {
  group_ = "Model";
  add_words(
      "arch", "NAME", fmt::format("{}", fmt::join(mae_preset_names(), ", ")), 1,
      [](PretrainSettings& s, const Texts& words) { s.recipe.arch = words[0]; },
      [](const PretrainSettings& s) { return Texts{s.recipe.arch}; });
  add("patch-size", "N",
      "side of a patch, pixels\n[default: the architecture's from 128 pixels "
      "on, 8 from 64, else 4]",
      &MaeConfig::patch);
  add("dim", "N", "encoder width [default: the architecture's]", &MaeConfig::dim);
  add("depth", "N", "encoder blocks [default: the architecture's]", &MaeConfig::depth);
  add("heads", "N", "encoder attention heads [default: the architecture's]", &MaeConfig::heads);
  add("decoder-dim", "N", "decoder width [default: the architecture's]", &MaeConfig::decoder_dim);
  add("decoder-depth", "N", "decoder blocks [default: the architecture's]",
      &MaeConfig::decoder_depth);
  add("decoder-heads", "N", "decoder attention heads [default: the architecture's]",
      &MaeConfig::decoder_heads);
  add("mlp-ratio", "R", "hidden width of an MLP over its width", &MaeConfig::mlp_ratio);
  add("mask-ratio", "R", "share of the patches that is hidden", &MaeConfig::mask_ratio);
  add("norm-pix-loss", "", "targets normalised patch by patch", &MaeConfig::norm_pix_loss);
}

void PretrainFlags::add_schedule_flags() {
  group_ = "Schedule";
  add("epochs", "N", "passes over the pictures", &PretrainRecipe::epochs);
  add("max-steps", "N",
      "length of run and schedule in steps, in place of --epochs\n"
      "[default: 0, not used]",
      &PretrainRecipe::max_steps);
  add("batch-size", "N", "pictures at a time", &PretrainRecipe::batch_size);
  add("accumulate", "N", "batches whose gradients make one step", &PretrainRecipe::accumulate);
  add("warmup-epochs", "N", "epochs of rising learning rate [default: a twentieth of the run]",
      &PretrainRecipe::warmup_epochs);
  add("warmup-steps", "N", "the same in steps, in place of --warmup-epochs [default: not used]",
      &PretrainRecipe::warmup_steps);
  add("eval-every", "N", "steps between evaluations, 0: never [default: every epoch]",
      &PretrainRecipe::eval_every);
}

void PretrainFlags::add_optimiser_flags() {
  group_ = "Optimiser";
  add("base-lr", "LR", "for 256 pictures a step: the peak is LR x pictures a step / 256",
      &PretrainRecipe::base_lr);
  add("min-lr", "LR", "at the end of the half cosine", &PretrainRecipe::min_lr);
  add_words(
      "betas", "B1 B2", "AdamW's", 2,
      [](PretrainSettings& s, const Texts& words) {
        const auto [beta1, beta2] = two_numbers("--betas", words);
        s.recipe.beta1 = beta1;
        s.recipe.beta2 = beta2;
      },
      [](const PretrainSettings& s) {
        return texts_of(std::array{s.recipe.beta1, s.recipe.beta2});
      });
  add("weight-decay", "W", "AdamW's, on matrices only", &PretrainRecipe::weight_decay);
  add("clip-grad", "NORM", "largest gradient norm, 0: no clipping", &PretrainRecipe::clip_grad);
  add_words(
      "precision", "NAME",
      "f32; or bf16, f16: products and what lies between them in 16 bits,\n"
      "weights, residuals and losses in f32",
      1,
      [](PretrainSettings& s, const Texts& words) {
        s.recipe.precision = precision_from_name(words[0]);
      },
      [](const PretrainSettings& s) { return Texts{name_of(s.recipe.precision)}; });
}

void PretrainFlags::add_run_flags() {
  group_ = "Run";
  add("out", "FOLDER", "checkpoints, metrics.jsonl, pictures, config.toml [default: none]",
      &RunOptions::out, Role::kStart);
  add("resume", "", "go on from the newest whole checkpoint in --out, with its settings",
      &RunOptions::resume, Role::kStart);
  add("checkpoint-every", "N", "steps between checkpoints, 0: every epoch; always at the end",
      &RunOptions::checkpoint_every);
  add("keep", "N", "checkpoints to keep, the newest", &RunOptions::keep);
  add("seed", "N", "of weights, masks, order and augmentation", &PretrainRecipe::seed);
  add("device", "NAME", "auto, cpu or cuda", &MachineFlags::device);
  add("threads", "N", "CPU threads, 0: what affinity, quota and cores allow",
      &MachineFlags::threads);
  add("checkpoint-activations", "",
      "keep only each block's input and run the block again for its\n"
      "gradients: less memory, a third more work, the same result",
      &RunOptions::checkpoint_activations);
  add("workers", "N", "threads that read pictures ahead", &RunOptions::workers);
  add("decoded-cache", "MIB",
      "decoded pictures kept in memory for later epochs, 0: none\n"
      "[default: a quarter of the memory that the training leaves free]",
      &RunOptions::decoded_cache);
  add("log-json", "", "each record as a line of JSON on stdout instead of the bar",
      &RunOptions::log_json, Role::kStart);
  add("profile", "N", "where the time of N steps goes: OUT/profile.txt and OUT/profile.json",
      &RunOptions::profile_steps, Role::kStart);
  add("dry-run", "", "say what it would take, try ten steps, save nothing", &RunOptions::dry_run,
      Role::kStart);
  app_.add_option("--config", config_file_, "settings to start from; typed flags win")
      ->type_name("FILE")
      ->group(group_);
}

}  // namespace tessera
