// The flags that every command that trains has, and how a flag enters the table.
#include "tools/training_flags.h"

#include <filesystem>

#include "models/names.h"

namespace tessera {

namespace fs = std::filesystem;

namespace {

constexpr size_t kHelpWidth = 70;  // columns beside the names

}  // namespace

void TrainingFlags::finish(Flag flag, const std::string& unit, const std::string& help) {
  const Texts value = flag.show();
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

void TrainingFlags::add_words(const std::string& name, const std::string& unit,
                              const std::string& help, int most_words,
                              std::function<void(const Texts&)> apply,
                              std::function<Texts()> show) {
  const auto words = std::make_shared<Texts>();
  CLI::Option* option =
      app_.add_option("--" + name, *words)->expected(1, most_words)->delimiter(',');
  finish({option, Role::kResult, [apply = std::move(apply), words] { apply(*words); },
          std::move(show)},
         unit, help);
}

void TrainingFlags::add_path(const std::string& name, const std::string& unit,
                             const std::string& help, std::string& field, Role role) {
  const auto path = std::make_shared<std::string>();
  CLI::Option* option = app_.add_option("--" + name, *path);
  const auto show = [&field] {
    if (field.empty()) return Texts{};
    if (field.starts_with("builtin:")) return Texts{field};
    const fs::path full = fs::absolute(field).lexically_normal();  // "/a/b/" is "/a/b"
    return Texts{(full.has_filename() ? full : full.parent_path()).string()};
  };
  finish({option, role, [&field, path] { field = *path; }, show}, unit, help);
}

void TrainingFlags::add_data_flags() {
  begin_group("Data");
  add_path("data", "PATH",
           "folder of pictures, flat or one subfolder a class;\n"
           "folder of CIFAR-10 batches (*.bin); builtin: or builtin:N, drawn",
           options.data, Role::kRun);
  add("holdout", "SHARE", "of each class, the last by name, kept for evaluation", recipe_.holdout);
  add_words(
      "image-size", "N|HxW", "pixels", 1,
      [this](const Texts& words) {
        const auto [height, width] = image_size_from("--image-size", words[0]);
        recipe_.picture().height = height;
        recipe_.picture().width = width;
      },
      [this] {
        const auto [height, width, channels] = recipe_.picture_shape();
        return Texts{image_size_text(height, width)};
      });
  add("channels", "N", "3 colours or 1 grey", recipe_.picture().channels);
  add_word("augment", "none, flip, crop-flip or shift-flip", recipe_.augment, augment_from_name);
  add_words(
      "crop-scale", "LOW HIGH", "share of the area that a random crop takes", 2,
      [this](const Texts& words) { recipe_.crop_scale = two_numbers("--crop-scale", words); },
      [this] { return texts_of(recipe_.crop_scale); });
  add("color-jitter", "S",
      "brightness, contrast and saturation change by up to this share,\n"
      "before the cut, 0: not at all",
      recipe_.color_jitter);
}

void TrainingFlags::add_normalisation_flags() {
  add_words(
      "mean", "VALUES",
      "subtracted from [0, 1] values: one a channel, imagenet or cifar\n"
      "[default: imagenet]",
      8,
      [this](const Texts& words) {
        recipe_.mean = mean_from(words, recipe_.picture_shape().channels);
      },
      [this] { return texts_of(recipe_.mean); });
  add_words(
      "std", "VALUES",
      "then divided by: one a channel, imagenet or cifar\n"
      "[default: imagenet]",
      8,
      [this](const Texts& words) {
        recipe_.std = std_from(words, recipe_.picture_shape().channels);
      },
      [this] { return texts_of(recipe_.std); });
}

void TrainingFlags::add_tower_flags(VitConfig& model) {
  add("patch-size", "N",
      "side of a patch, pixels\n[default: the architecture's from 128 pixels on, 8 from 64, else "
      "4]",
      model.patch);
  add("dim", "N", "width [default: the architecture's]", model.dim);
  add("depth", "N", "blocks [default: the architecture's]", model.depth);
  add("heads", "N", "attention heads [default: the architecture's]", model.heads);
  add("head-dim", "N", "width of a head [default: dim / heads]", model.head_dim);
  add("mlp-ratio", "R", "hidden width of an MLP over its width", model.mlp_ratio);
  add("absolute-positions", "", "learned positions are added to the patches",
      model.absolute_positions);
  add_word("relative-bias",
           "none, shared or per-block: attention learns how much distances\nmatter",
           model.relative_bias, relative_bias_from_name);
  add_word("qkv-bias", "none, all or query-value", model.qkv_bias, qkv_bias_from_name);
  add("layer-scale", "G",
      "first value of the blocks' learned scales, 0: none\n"
      "[default: the architecture's]",
      model.layer_scale);
  add("drop-path", "P", "share of samples that skip the last block; from 0 in the first",
      model.drop_path);
}

void TrainingFlags::add_mask_flags(double& ratio, MaskRatioOptions& schedule) {
  add("mask-ratio", "R", "share of the patches that is hidden; in evaluations always", ratio);
  add_word("mask-ratio-schedule",
           "constant; linear or cosine, over the run; or loss: from\n"
           "--mask-ratio to --mask-ratio-end, as the average loss falls",
           schedule.schedule, mask_schedule_from_name);
  add("mask-ratio-end", "R", "where the schedule leads [default: not used]", schedule.end);
  add("mask-loss-end", "L",
      "schedule loss: the average loss that leads there\n"
      "[default: half of the first loss]",
      schedule.loss_end);
}

void TrainingFlags::add_schedule_flags() {
  begin_group("Schedule");
  add("epochs", "N", "passes over the pictures", recipe_.epochs);
  add("max-steps", "N",
      "length of run and schedule in steps, in place of --epochs\n"
      "[default: 0, not used]",
      recipe_.max_steps);
  add("batch-size", "N", "pictures at a time", recipe_.batch_size);
  add("accumulate", "N", "batches whose gradients make one step", recipe_.accumulate);
  add("warmup-epochs", "N", "epochs of rising learning rate [default: a twentieth of the run]",
      recipe_.warmup_epochs);
  add("warmup-steps", "N", "the same in steps, in place of --warmup-epochs [default: not used]",
      recipe_.warmup_steps);
  add("eval-every", "N", "steps between evaluations, 0: never [default: every epoch]",
      recipe_.eval_every);
}

void TrainingFlags::add_optimiser_flags() {
  begin_group("Optimiser");
  add("base-lr", "LR", "for 256 pictures a step: the peak is LR x pictures a step / 256",
      recipe_.base_lr);
  add("min-lr", "LR", "at the end of the half cosine", recipe_.min_lr);
  add_words(
      "betas", "B1 B2", "AdamW's", 2,
      [this](const Texts& words) {
        const auto [beta1, beta2] = two_numbers("--betas", words);
        recipe_.beta1 = beta1;
        recipe_.beta2 = beta2;
      },
      [this] {
        return texts_of(std::array{recipe_.beta1, recipe_.beta2});
      });
  add("weight-decay", "W", "AdamW's, on matrices only", recipe_.weight_decay);
  add("ema-decay", "D", "of a moving average of the weights, which evaluations judge, 0: none",
      recipe_.ema_decay);
  add("clip-grad", "NORM", "largest gradient norm, 0: no clipping", recipe_.clip_grad);
  add_word("precision",
           "f32; or bf16, f16: products and what lies between them in 16 bits,\n"
           "weights, residuals and losses in f32",
           recipe_.precision, precision_from_name);
  add("tf32", "",
      "on a GPU round the factors of f32 products to 11 bits (TF32): faster, less exact",
      recipe_.tf32);
}

void TrainingFlags::add_run_flags() {
  begin_group("Run");
  add("out", "FOLDER", "checkpoints, metrics.jsonl, pictures, config.toml [default: none]",
      options.out, Role::kStart);
  add("resume", "", "go on from the newest whole checkpoint in --out, with its settings",
      options.resume, Role::kStart);
  add("checkpoint-every", "N", "steps between checkpoints, 0: every epoch; always at the end",
      options.checkpoint_every, Role::kRun);
  add("probe-every", "N",
      "steps between probes of the frozen encoder's features: 2,000\n"
      "pictures with labels, 1,000 held-out ones judged; 0: never",
      options.probe_every, Role::kRun);
  add("keep", "N", "checkpoints to keep, the newest", options.keep, Role::kRun);
  add("seed", "N", "of weights, masks, order and augmentation", recipe_.seed);
  add("device", "NAME", "auto, cpu or cuda", machine.device, Role::kRun);
  add("no-graph", "", "on a GPU queue every step anew; else steps are recorded as CUDA graphs",
      options.no_graph, Role::kRun);
  add("threads", "N", "CPU threads, 0: what affinity, quota and cores allow", machine.threads,
      Role::kRun);
  add("checkpoint-activations", "",
      "keep only each block's input and run the block again for its\n"
      "gradients: less memory, a third more work, the same result",
      options.checkpoint_activations, Role::kRun);
  add("workers", "N", "threads that read pictures ahead", options.workers, Role::kRun);
  add("decoded-cache", "MIB",
      "decoded pictures kept in memory for later epochs, 0: none\n"
      "[default: a quarter of the memory that the training leaves free]",
      options.decoded_cache, Role::kRun);
  add("log-json", "", "each record as a line of JSON on stdout instead of the bar",
      options.log_json, Role::kStart);
  add("profile", "N", "where the time of N steps goes: OUT/profile.txt and OUT/profile.json",
      options.profile_steps, Role::kStart);
  add("dry-run", "", "say what it would take, try ten steps, save nothing", options.dry_run,
      Role::kStart);
  app_.add_option("--config", config_file_, "settings to start from; typed flags win")
      ->type_name("FILE")
      ->group(group_);
}

}  // namespace tessera
