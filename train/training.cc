// The run: one step after another, and what a person and a resumed run need to know about them.
// What a step is stands in train/step.cc; what is trained is the task's.
#include "train/training.h"

#include <cmath>
#include <exception>
#include <functional>
#include <memory>
#include <optional>

#include "autograd/tape.h"
#include "data/encode.h"
#include "engine/backend.h"
#include "train/checkpoint.h"
#include "train/curves.h"
#include "train/files/atomic_file.h"
#include "train/limits.h"
#include "train/metrics.h"
#include "train/online_probe.h"
#include "train/profile.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/step.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr int64_t kDryRunSteps = 11;     // the first only starts the clock
constexpr int64_t kUnprofiledSteps = 2;  // they allocate and touch memory for the first time
constexpr int kInterrupted = 130;        // 128 + SIGINT, as shells count

// For decoded pictures: what the user allows, else a quarter of what the training leaves free.
int64_t cache_bytes(const TaskCost& cost, const RunOptions& options) {
  if (options.decoded_cache >= 0) return options.decoded_cache << 20;
  const double left = static_cast<double>(available_memory_bytes()) - cost.memory_bytes;
  return static_cast<int64_t>(std::max(left, 0.0) / 4);
}

class Training {
 public:
  Training(TrainingTask& task, const RunOptions& options)
      : task_(task), recipe_(task.recipe()), options_(options) {
    recipe_.check();
    data_ = open_training_data(recipe_, options_.data);
    const std::string id = data_id_of(*data_.split.train);
    TESSERA_CHECK_USAGE(recipe_.data_id.empty() || recipe_.data_id == id,
                        "--data {}: other pictures than the run was started with ({}, now {})",
                        options_.data, recipe_.data_id, id);
    recipe_.data_id = id;
    task_.open(data_);
    if (options_.probe_every > 0) probe_.emplace(data_, recipe_);
    cost_ = task_.cost(options_.checkpoint_activations);
    if (recipe_.ema_decay > 0) cost_.memory_bytes += 4.0 * static_cast<double>(cost_.parameters);
    DataOptions reading = reading_of(recipe_);
    reading.spec = options_.data;
    reading.device = options_.device;
    reading.workers = options_.workers;
    reading.cache_bytes = cache_bytes(cost_, options_);
    task_.configure(reading);
    loader_ = std::make_unique<Loader>(data_.split.train, reading);
    steps_per_epoch_ = loader_->batches_per_epoch() / recipe_.accumulate;
    TESSERA_CHECK_USAGE(steps_per_epoch_ > 0,
                        "--accumulate {}: an epoch has only {} batches of {} pictures",
                        recipe_.accumulate, loader_->batches_per_epoch(), recipe_.batch_size);
    total_steps_ = recipe_.max_steps > 0 ? recipe_.max_steps : recipe_.epochs * steps_per_epoch_;
  }

  int run() {
    const Tf32 tf32(recipe_.tf32);
    if (!options_.dry_run) {
      TESSERA_CHECK_USAGE(!options_.out.empty(), "--out: name a folder for the run");
      folder_.emplace(options_.out,
                      options_.resume ? RunFolder::Start::kResume : RunFolder::Start::kNew);
    }
    model_ = &task_.build(options_.checkpoint_activations);
    model_->move_to(options_.device);
    TESSERA_CHECK_USAGE(options_.probe_every == 0 || task_.encoder() != nullptr,
                        "--probe-every: `{}` trains no encoder to be probed", recipe_.command());
    trainer_.emplace(task_, *model_, total_steps_, steps_per_epoch_, !options_.no_graph);
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
    listen_for_stop();
    progress_.emplace(Progress::choose_mode(options_.log_json), step, total_steps_,
                      recipe_.batch_size * recipe_.accumulate);
    say_remarks();
    first_ = step;
    last_ = options_.dry_run ? std::min(total_steps_, step + kDryRunSteps) : total_steps_;
    while (true) {
      if (folder_ && options_.profile_steps > 0 && step == first_ + kUnprofiledSteps) {
        profile_.emplace(options_.device);
      }
      hear_if_it_fails([&] { trainer_->queue(step, batches); });
      ++step;
      const bool stop = stop_requested() && step < last_;
      // A step is heard of when it is done, or when the next one is queued behind it.
      hear(stop || profile_ || is_waited_for(step) ? 0 : 1, stop ? step : -1);
      if (stop) {
        progress_->finish();
        if (folder_) {
          progress_->say(
              fmt::format("stopped and saved after step {} of {}; go on with: tessera {} --resume "
                          "--out {}",
                          step, total_steps_, recipe_.command(), options_.out));
        }
        return kInterrupted;
      }
      if (step == last_) break;
      hear_if_it_fails([&] { batches = next_batches(); });
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

  int64_t checkpoint_every() const {
    return options_.checkpoint_every > 0 ? options_.checkpoint_every : -1;
  }

  // Whether somebody wants the weights as they are after this step, and no later ones.
  bool is_waited_for(int64_t step) const {
    if (step == last_ || !folder_) return step == last_;
    const bool epoch_ends = step % steps_per_epoch_ == 0;
    return due(recipe_.eval_every, step, epoch_ends) ||
           due(options_.probe_every, step, epoch_ends) || due(checkpoint_every(), step, epoch_ends);
  }

  // Collects the steps that are done, and waits for those beyond `pending`; after step `stopped`,
  // where there is one, the run ends.
  void hear(size_t pending, int64_t stopped = -1) {
    while (trainer_->pending() > pending || trainer_->ready()) {
      const StepResult result = trainer_->collect();
      const int64_t step = result.step, profiled = step - first_ - kUnprofiledSteps;
      if (profile_ && (step == last_ || profiled == options_.profile_steps)) {
        write_profile(profiled);
      }
      progress_->step(step, result.loss);
      say_remarks();
      if (step == first_ + kDryRunSteps || step == last_) say_time_left(step);
      if (folder_) keep_results(result, step == stopped);
    }
  }

  void say_remarks() {
    for (const std::string& line : task_.remarks()) progress_->say(line);
  }

  // When the run cannot go on, the step that is under way is heard of all the same.
  void hear_if_it_fails(const std::function<void()>& work) {
    try {
      work();
    } catch (...) {
      const std::exception_ptr failure = std::current_exception();
      hear(0);
      std::rethrow_exception(failure);
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
    const nlohmann::json wanted = to_json(recipe_);
    read_recipe(recipe_, checkpoint);
    TESSERA_CHECK(to_json(recipe_) == wanted, "{}: its recipe is not the one to go on with",
                  newest->path);
    trainer_->load(checkpoint);
    return checkpoint.step();
  }

  void announce(int64_t step) const {
    const double memory = cost_.memory_bytes;
    fmt::print(stderr,
               "{}: {:.2f} million parameters; {:.3g} GFLOP a picture and step; about {:.0f} MB of "
               "memory\n",
               recipe_.arch, static_cast<double>(cost_.parameters) * 1e-6, cost_.step_flops * 1e-9,
               memory * 1e-6);
    fmt::print(stderr, "{} pictures, {} steps of {} pictures, {} steps an epoch{}\n",
               data_.split.train->size(), total_steps_, recipe_.batch_size * recipe_.accumulate,
               steps_per_epoch_, step > 0 ? fmt::format("; going on after step {}", step) : "");
    const auto cache = static_cast<double>(loader_->cache().budget());
    if (cache > 0) {
      fmt::print(stderr, "decoded pictures are kept for later epochs, up to {:.0f} MB\n",
                 cache * 1e-6);
    }
    const std::string unused = data_.split.train->note();
    if (!unused.empty()) fmt::print(stderr, "{}\n", unused);
    for (const std::string& note : options_.notes) fmt::print(stderr, "{}\n", note);
    const std::string slow = why_not_faster(recipe_.precision, options_.device);
    if (!slow.empty()) fmt::print(stderr, "{}\n", slow);
    const auto available = static_cast<double>(available_memory_bytes());
    if (available > 0 && memory + cache > available) {
      fmt::print(stderr, "warning: only {:.1f} GB of memory are free; try a smaller {}\n",
                 available * 1e-9,
                 memory > available ? "--batch-size with --accumulate" : "--decoded-cache");
    }
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
  // evaluation, only what was learnt; and that is saved, too, when an evaluation fails.
  void keep_results(const StepResult& result, bool stop) {
    const int64_t step = result.step;
    const bool epoch_ends = step % steps_per_epoch_ == 0;
    MetricRecord record = record_of(result);
    std::exception_ptr failure;
    try {
      if (!stop && due(recipe_.eval_every, step, epoch_ends)) evaluate(record);
      if (!stop && due(options_.probe_every, step, epoch_ends)) probe(record);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!record.values.empty()) log(record);
    if (stop || failure || due(checkpoint_every(), step, epoch_ends)) save(step);
    if (failure) std::rethrow_exception(failure);
  }

  // The step's figures; none when it is not one to be logged.
  MetricRecord record_of(const StepResult& result) const {
    const int64_t step = result.step;
    MetricRecord record;
    record.step = step;
    if (step % options_.log_every != 0 && step != total_steps_) return record;
    record.add("epoch", static_cast<double>(step) / static_cast<double>(steps_per_epoch_));
    record.add("loss", result.loss);
    for (const auto& [name, value] : result.figures) record.add(name, value);
    record.add("lr", result.lr);
    record.add("grad_norm", result.gradient_norm);
    if (trainer_->optimizer().scaled_loss()) record.add("loss_scale", result.loss_scale);
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

  // Adds the figures to the step's record, so that each step stands once.
  void evaluate(MetricRecord& record) {
    const int64_t step = record.step;
    Evaluation found;
    {
      const NoGrad no_grad;
      const AveragedWeights averaged(trainer_->average());
      model_->set_training(false);
      found = task_.evaluate(step);
      model_->set_training(true);
    }
    for (const auto& [name, value] : found.figures) record.add(name, value);
    std::string line = fmt::format("step {}: {}", step, found.summary);
    for (const auto& [name, image] : found.pictures) {
      const std::string path = fmt::format("{}/{}-{:08}.png", folder_->path(), name, step);
      const std::string png = encode_png(image);
      write_file_atomically(path, png);
      metrics_->log_png(step, name, image.width, image.height, png);
      line += "; " + path;
    }
    progress_->say(line);
    for (const std::string& warning : found.warnings) progress_->say(warning);
  }

  void probe(MetricRecord& record) {
    const AveragedWeights averaged(trainer_->average());
    const std::unique_ptr<VitEncoder> encoder = task_.encoder();
    encoder->move_to(options_.device);
    const OnlineProbe::Result found = probe_->measure(*encoder);
    for (const auto& [name, value] : found.figures) record.add(name, value);
    progress_->say(fmt::format("step {}: {}", record.step, found.summary));
  }

  void write_profile(int64_t steps) {
    Limits limits;  // a profile without them is better than no run
    try {
      limits = measure_limits(recipe_.precision, options_.device);
    } catch (const Error& error) {
      progress_->say(fmt::format("warning: no limits in the profile: {}", error.what()));
    }
    const std::string table = profile_->table(steps, limits), trace = profile_->chrome_trace();
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
    trainer_->save(folder_->checkpoint_path(step), step);
    folder_->prune(options_.keep);
    try {
      draw_curves(folder_->path());
    } catch (const Error& error) {  // a picture is no reason to stop
      progress_->say(fmt::format("warning: no curves: {}", error.what()));
    }
    write_broken_files();
  }

  TrainingTask& task_;
  TrainingRecipe& recipe_;  // the task's
  RunOptions options_;
  TrainingData data_;
  TaskCost cost_;
  std::unique_ptr<Loader> loader_;
  int64_t steps_per_epoch_ = 0, total_steps_ = 0;
  int64_t first_ = 0, last_ = 0;  // this start goes from after step first_ to last_
  std::optional<OnlineProbe> probe_;
  std::optional<RunFolder> folder_;
  Module* model_ = nullptr;  // the task's
  std::optional<Trainer> trainer_;
  std::optional<Profile> profile_;
  std::optional<MetricsLog> metrics_;
  std::optional<Progress> progress_;
};

}  // namespace

int train(TrainingTask& task, const RunOptions& options) { return Training(task, options).run(); }

}  // namespace tessera
