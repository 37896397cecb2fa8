// The run: batches in, steps, records, pictures and checkpoints out.
// One step is: gradients of `accumulate` batches, their norm, an update; everything random in it is
// named by (seed, step), so that a resumed run goes on as if it had never stopped.
#include "train/pretrain.h"

#include <cmath>
#include <memory>
#include <optional>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "data/encode.h"
#include "data/evaluation.h"
#include "data/open.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/flops.h"
#include "train/adamw.h"
#include "train/atomic_file.h"
#include "train/checkpoint.h"
#include "train/grad_scaler.h"
#include "train/metrics.h"
#include "train/nonfinite.h"
#include "train/profile.h"
#include "train/progress.h"
#include "train/reconstruction.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr int64_t kEvaluationPictures = 256;  // under a second for a tiny model
constexpr int64_t kSheetPictures = 8;
constexpr int64_t kDryRunSteps = 11;     // the first only starts the clock
constexpr int64_t kUnprofiledSteps = 2;  // they allocate and touch memory for the first time
constexpr int kInterrupted = 130;        // 128 + SIGINT, as shells count

// What the pictures are, whatever folder they lie in: how many, and a sum (FNV-1a) over labels and
// file names.
std::string data_id_of(const Dataset& data) {
  if (data.endless()) return fmt::format("builtin:{}", data.size());
  uint64_t sum = 0xcbf29ce484222325u;
  for (int64_t i = 0; i < data.size(); ++i) {
    const std::string path = data.name(i);
    for (unsigned char c :
         fmt::format("{} {}\n", data.label(i), path.substr(path.rfind('/') + 1))) {
      sum = (sum ^ c) * 0x100000001b3u;
    }
  }
  return fmt::format("{} pictures, {:016x}", data.size(), sum);
}

// For decoded pictures: what the user allows, else a quarter of what the training leaves free.
int64_t cache_bytes(const PretrainRecipe& recipe, const RunOptions& options) {
  if (options.decoded_cache >= 0) return options.decoded_cache << 20;
  const double left = static_cast<double>(available_memory_bytes()) -
                      training_bytes(cost_of(recipe.model), recipe.batch_size);
  return static_cast<int64_t>(std::max(left, 0.0) / 4);
}

DataOptions data_options(const PretrainRecipe& recipe, const RunOptions& options) {
  DataOptions d;
  d.spec = options.data;
  d.holdout = recipe.holdout;
  d.height = static_cast<int>(recipe.model.image_height);
  d.width = static_cast<int>(recipe.model.image_width);
  d.channels = static_cast<int>(recipe.model.channels);
  d.augment = recipe.augment;
  d.crop_scale = recipe.crop_scale;
  d.mean = recipe.mean;
  d.std = recipe.std;
  d.seed = recipe.seed;
  d.batch_size = recipe.batch_size;
  d.workers = options.workers;
  d.cache_bytes = cache_bytes(recipe, options);
  return d;
}

// The step's figures as the loop needs them.
struct StepResult {
  double loss = 0, gradient_norm = 0, lr = 0;
};

class Pretraining {
 public:
  Pretraining(const PretrainRecipe& recipe, const RunOptions& options)
      : recipe_(recipe), options_(options), scaler_(recipe.precision) {
    recipe_.check();
    split_ = open_data(options_.data, recipe_.holdout, static_cast<int>(recipe_.model.image_height),
                       static_cast<int>(recipe_.model.image_width));
    const std::string id = data_id_of(*split_.train);
    TESSERA_CHECK_USAGE(recipe_.data_id.empty() || recipe_.data_id == id,
                        "--data {}: other pictures than the run was started with ({}, now {})",
                        options_.data, recipe_.data_id, id);
    recipe_.data_id = id;
    loader_ = std::make_unique<Loader>(split_.train, data_options(recipe_, options_));
    steps_per_epoch_ = loader_->batches_per_epoch() / recipe_.accumulate;
    TESSERA_CHECK_USAGE(steps_per_epoch_ > 0,
                        "--accumulate {}: an epoch has only {} batches of {} pictures",
                        recipe_.accumulate, loader_->batches_per_epoch(), recipe_.batch_size);
    total_steps_ = recipe_.max_steps > 0 ? recipe_.max_steps : recipe_.epochs * steps_per_epoch_;
    prepare_schedule();
    const bool nothing_held_out = split_.held_out->size() == 0;
    reader_ = std::make_unique<EvaluationReader>(nothing_held_out ? split_.train : split_.held_out,
                                                 static_cast<int>(recipe_.model.image_height),
                                                 static_cast<int>(recipe_.model.image_width),
                                                 static_cast<int>(recipe_.model.channels));
    evaluation_set_ =
        nothing_held_out ? "training pictures (nothing is held out)" : "held-out pictures";
  }

  int run() {
    if (!options_.dry_run) {
      TESSERA_CHECK_USAGE(!options_.out.empty(), "--out: name a folder for the run");
      folder_.emplace(options_.out,
                      options_.resume ? RunFolder::Start::kResume : RunFolder::Start::kNew);
    }
    model_ = std::make_unique<Mae>(recipe_.model, recipe_.seed);
    model_->set_checkpointing(options_.checkpoint_activations);
    optimizer_ = std::make_unique<AdamW>(
        *model_,
        AdamWOptions{recipe_.beta1, recipe_.beta2, 1e-8, recipe_.weight_decay, recipe_.precision});
    int64_t step = options_.resume ? load_newest() : 0;
    if (step >= total_steps_) {
      fmt::print(stderr, "the run in {} is complete: {} of {} steps\n", options_.out, step,
                 total_steps_);
      return 0;
    }
    seek(step);
    std::vector<Batch> batches = next_batches();  // before a word is said: it may be refused
    if (folder_) {
      if (step == 0) write_file_atomically(folder_->config_path(), options_.config_text);
      metrics_.emplace(folder_->path(), step);
    }
    announce(step);
    install_signal_handlers();
    progress_.emplace(Progress::choose_mode(options_.log_json), step, total_steps_,
                      recipe_.batch_size * recipe_.accumulate);
    const int64_t last =
        options_.dry_run ? std::min(total_steps_, step + kDryRunSteps) : total_steps_;
    const int64_t first = step;
    while (true) {
      if (folder_ && options_.profile_steps > 0 && step == first + kUnprofiledSteps) {
        profile_.emplace();
      }
      const StepResult result = train_step(step, batches);
      ++step;
      if (profile_ && (step == last || step == first + kUnprofiledSteps + options_.profile_steps)) {
        write_profile(step - first - kUnprofiledSteps);
      }
      progress_->step(step, result.loss);
      if (step == first + kDryRunSteps || step == last) say_time_left(step);
      const bool stop = stop_requested() && step < last;
      if (folder_) keep_results(step, result, stop);
      if (stop) {
        progress_->finish();
        if (folder_) {
          progress_->say(
              fmt::format("stopped and saved after step {} of {}; go on with: tessera pretrain mae "
                          "--resume --out {}",
                          step, total_steps_, options_.out));
        }
        return kInterrupted;
      }
      if (step == last) break;
      batches = next_batches();
    }
    progress_->finish();
    if (folder_) progress_->say(fmt::format("complete: {}", folder_->checkpoint_path(step)));
    return 0;
  }

 private:
  // `every` in steps; below 0: at the end of every epoch. The last step is always due, unless 0.
  bool due(int64_t every, int64_t step, bool epoch_ends) const {
    if (every == 0) return false;
    return step == total_steps_ || (every < 0 ? epoch_ends : step % every == 0);
  }

  void prepare_schedule() {
    schedule_.peak = scaled_learning_rate(recipe_.base_lr, recipe_.batch_size * recipe_.accumulate);
    schedule_.min_lr = recipe_.min_lr;
    schedule_.total_steps = total_steps_;
    if (recipe_.warmup_steps >= 0) {
      schedule_.warmup_steps = static_cast<double>(recipe_.warmup_steps);
    } else if (recipe_.warmup_epochs >= 0) {
      schedule_.warmup_steps = recipe_.warmup_epochs * static_cast<double>(steps_per_epoch_);
    } else {
      schedule_.warmup_steps = static_cast<double>(total_steps_) / 20;
    }
  }

  // The step to go on from. A run that was killed before its first checkpoint starts over.
  int64_t load_newest() {
    if (list_checkpoints(options_.out).empty()) return 0;
    std::vector<std::string> broken;
    const auto newest = newest_whole_checkpoint(options_.out, &broken);
    for (const std::string& line : broken) fmt::print(stderr, "passed over: {}\n", line);
    TESSERA_CHECK_USAGE(newest.has_value(), "--resume: no whole checkpoint in {}", options_.out);
    const Checkpoint checkpoint(newest->path);
    TESSERA_CHECK(to_json(recipe_from_json(checkpoint.recipe())) == to_json(recipe_),
                  "{}: its recipe is not the one to go on with", newest->path);
    checkpoint.load_model(*model_);
    checkpoint.load_optimizer(*optimizer_, scaler_);
    return checkpoint.step();
  }

  void announce(int64_t step) const {
    const ModelCost cost = cost_of(recipe_.model);
    const double memory = training_bytes(cost, recipe_.batch_size);
    fmt::print(stderr,
               "{}: {:.2f} million parameters; {:.3g} GFLOP a picture and step; about {:.0f} MB of "
               "memory\n",
               recipe_.arch, static_cast<double>(cost.parameters) * 1e-6, cost.step_flops * 1e-9,
               memory * 1e-6);
    fmt::print(stderr, "{} pictures, {} steps of {} pictures, {} steps an epoch{}\n",
               split_.train->size(), total_steps_, recipe_.batch_size * recipe_.accumulate,
               steps_per_epoch_, step > 0 ? fmt::format("; going on after step {}", step) : "");
    const auto cache = static_cast<double>(loader_->cache().budget());
    if (cache > 0) {
      fmt::print(stderr, "decoded pictures are kept for later epochs, up to {:.0f} MB\n",
                 cache * 1e-6);
    }
    for (const std::string& note : options_.notes) fmt::print(stderr, "{}\n", note);
    const auto available = static_cast<double>(available_memory_bytes());
    if (available > 0 && memory + cache > available) {
      fmt::print(stderr, "warning: only {:.1f} GB of memory are free; try a smaller {}\n",
                 available * 1e-9,
                 memory > available ? "--batch-size with --accumulate" : "--decoded-cache");
    }
  }

  // Gradients of one step, times the loss scale; the loss is the mean over its batches. Batches and
  // masks are named by the step, so that the same step can be run again.
  double accumulate_gradients(int64_t step, const std::vector<Batch>& batches) {
    optimizer_->zero_grad();
    double loss = 0;
    for (size_t i = 0; i < batches.size(); ++i) {
      const auto iteration =
          static_cast<uint32_t>(step * recipe_.accumulate + static_cast<int64_t>(i));
      const Tensor noise =
          mask_noise(recipe_.batch_size, recipe_.model.patches(), recipe_.seed, iteration);
      const Autocast autocast(recipe_.precision);
      const Tensor batch_loss = mul_scalar(model_->forward(batches[i].images, noise).loss,
                                           1.0 / static_cast<double>(recipe_.accumulate));
      backward(batch_loss, Tensor::full({}, scaler_.scale()));
      loss += batch_loss.item();
    }
    return loss;
  }

  StepResult train_step(int64_t step, const std::vector<Batch>& batches) {
    StepResult result;
    result.lr = schedule_.at(step);
    result.loss = accumulate_gradients(step, batches);
    {
      const ObservedWork work("gradient norm");
      result.gradient_norm = optimizer_->gradient_norm() / scaler_.scale();
    }
    const bool finite = std::isfinite(result.loss) && std::isfinite(result.gradient_norm);
    if (!finite && !scaler_.can_back_off()) {
      // The weights are still those before the step: run it again and look after each op.
      name_first_nonfinite(step + 1, *optimizer_, [&] { accumulate_gradients(step, batches); });
    }
    if (finite) {
      const double clip = recipe_.clip_grad > 0
                              ? std::min(1.0, recipe_.clip_grad / (result.gradient_norm + 1e-6))
                              : 1.0;
      const ObservedWork work("adamw");
      optimizer_->step(result.lr, clip / scaler_.scale());
    }
    scaler_.update(finite);
    backend(Device::kCpu).allocator().end_step();
    return result;
  }

  void seek(int64_t step) {
    const int64_t batch = step * recipe_.accumulate;
    loader_->seek(batch / loader_->batches_per_epoch(), batch % loader_->batches_per_epoch());
  }

  // Those of one step. A set that breaks down leaves the list of its broken files in the run's
  // folder.
  std::vector<Batch> next_batches() {
    const ObservedWork work("wait for pictures");
    std::vector<Batch> batches;
    try {
      for (int64_t i = 0; i < recipe_.accumulate; ++i) batches.push_back(loader_->next());
      return batches;
    } catch (const Error&) {
      write_broken_files();
      throw;
    }
  }

  void write_broken_files() {
    if (!folder_) return;
    std::vector<std::string> lines;
    for (const BrokenFile& file : loader_->broken_files()) lines.push_back(file.reason);
    if (!lines.empty()) folder_->add_broken_files(lines);
  }

  // After a step: its record, a picture and a checkpoint when they are due. Whoever stops wants no
  // evaluation, only what was learnt.
  void keep_results(int64_t step, const StepResult& result, bool stop) {
    const bool epoch_ends = step % steps_per_epoch_ == 0;
    MetricRecord record = record_of(step, result);
    if (!stop && due(recipe_.eval_every, step, epoch_ends)) evaluate(record);
    if (!record.values.empty()) log(record);
    const int64_t every = options_.checkpoint_every > 0 ? options_.checkpoint_every : -1;
    if (stop || due(every, step, epoch_ends)) save(step);
  }

  // The step's figures; none when it is not one to be logged.
  MetricRecord record_of(int64_t step, const StepResult& result) const {
    MetricRecord record;
    record.step = step;
    if (step % options_.log_every != 0 && step != total_steps_) return record;
    record.add("epoch", static_cast<double>(step) / static_cast<double>(steps_per_epoch_));
    record.add("loss", result.loss);
    record.add("lr", result.lr);
    record.add("grad_norm", result.gradient_norm);
    if (scaler_.active()) record.add("loss_scale", scaler_.scale());
    const double rate = progress_->images_per_second();
    if (rate > 0) record.add("images_per_s", rate);
    return record;
  }

  void log(const MetricRecord& record) {
    metrics_->log(record);
    progress_->record(record);
  }

  void say_time_left(int64_t step) {
    const double left = progress_->seconds_left();
    if (!std::isfinite(left) || step >= total_steps_) return;
    progress_->say(fmt::format("{:.0f} images/s; about {} left", progress_->images_per_second(),
                               format_duration(left)));
  }

  // Adds the score to the step's record, so that each step stands once.
  void evaluate(MetricRecord& record) {
    const int64_t step = record.step;
    const Normalisation normalisation{recipe_.mean, recipe_.std};
    const bool with_fills = !fills_.has_value();
    const ReconstructionScores scores =
        evaluate_reconstruction(*model_, *reader_, normalisation, recipe_.model.mask_ratio,
                                recipe_.seed, with_fills, kEvaluationPictures);
    if (with_fills) fills_ = scores;
    record.add("eval_psnr", scores.model);
    std::vector<int64_t> pictures;
    for (int64_t i = 0; i < std::min(kSheetPictures, reader_->size()); ++i) pictures.push_back(i);
    const Image sheet = reconstruction_sheet(*model_, *reader_, normalisation,
                                             recipe_.model.mask_ratio, recipe_.seed, pictures);
    const std::string path = fmt::format("{}/reconstruction-{:08}.png", folder_->path(), step);
    const std::vector<uint8_t> png = encode_png(sheet);
    write_file(path, png);
    metrics_->log_png(step, "reconstruction", sheet.width, sheet.height,
                      {reinterpret_cast<const char*>(png.data()), png.size()});
    progress_->say(fmt::format(
        "step {}: {:.2f} dB on {} {}{} (fills: mean {:.2f}, nearest {:.2f}, bilinear "
        "{:.2f}, harmonic {:.2f}); {}",
        step, scores.model, scores.images, evaluation_set_,
        recipe_.model.norm_pix_loss ? ", given each patch's true mean and deviation" : "",
        fills_->mean, fills_->nearest, fills_->bilinear, fills_->harmonic, path));
  }

  void write_profile(int64_t steps) {
    const std::string table = profile_->table(steps), trace = profile_->chrome_trace();
    profile_.reset();
    const std::string text = folder_->path() + "/profile.txt",
                      json = folder_->path() + "/profile.json";
    write_file_atomically(text, table);
    write_file_atomically(json, trace);
    progress_->say(
        fmt::format("{} steps profiled: {}, and {} for chrome://tracing", steps, text, json));
  }

  void save(int64_t step) {
    metrics_->sync();
    save_checkpoint(folder_->checkpoint_path(step), *model_, *optimizer_, scaler_, step,
                    to_json(recipe_));
    folder_->prune(options_.keep);
    write_broken_files();
  }

  PretrainRecipe recipe_;
  RunOptions options_;
  DataSplit split_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<EvaluationReader> reader_;
  std::string evaluation_set_;
  int64_t steps_per_epoch_ = 0, total_steps_ = 0;
  LearningRateSchedule schedule_;
  GradScaler scaler_;
  std::optional<RunFolder> folder_;
  std::unique_ptr<Mae> model_;
  std::unique_ptr<AdamW> optimizer_;
  std::optional<Profile> profile_;
  std::optional<MetricsLog> metrics_;
  std::optional<Progress> progress_;
  std::optional<ReconstructionScores> fills_;  // the same pictures and masks: counted once
};

}  // namespace

int pretrain_mae(const PretrainRecipe& recipe, const RunOptions& options) {
  return Pretraining(recipe, options).run();
}

}  // namespace tessera
