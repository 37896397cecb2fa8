// `tessera bench data`: how many pictures a second the loader hands out, from files and from the
// decoded cache, on one thread and on all.
// Rule: whatever is timed is timed three times and the median counts, so that the first reading of
// the files from a disk and the first touch of the memory are not in it.
#include <algorithm>
#include <functional>
#include <memory>
#include <tuple>

#include "data/loader.h"
#include "data/open.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "tools/bench_report.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "train/picture_batches.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr int kRounds = 3;

// Pictures a second.
struct Rates {
  double first_epoch = 0, later_epochs = 0;
};

// `count` pictures in the median of the seconds that `work` takes.
double rate_of(int64_t count, const std::function<void()>& work) {
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) times.push_back(seconds_of(work));
  return static_cast<double>(count) / median(times);
}

void read_epoch(Loader& loader) {
  for (int64_t k = 0; k < loader.batches_per_epoch(); ++k) loader.next();
}

struct DataBench {
  std::string data = "builtin:", augment = "crop-flip";
  int image_size = 224, workers = -1;
  int64_t images = 500, batch = 64, decoded_cache = -1;
  ReportFlags output;

  int run() const {
    TESSERA_CHECK_USAGE(image_size > 0 && batch > 0,
                        "--image-size and --batch-size must be positive");
    output.check();
    const std::shared_ptr<const Dataset> set = pictures();
    DataOptions options;
    options.spec = data;
    options.height = options.width = image_size;
    options.augment = augment_from_name(augment);
    options.batch_size = batch;
    options.drop_last = false;
    options.cache_bytes = decoded_cache < 0 ? available_memory_bytes() / 4 : decoded_cache << 20;

    const int64_t n = set->size();
    const double decode = rate_of(n, [&] {
      for (int64_t i = 0; i < n; ++i) set->picture(i);
    });
    DecodedCache::Size kept;
    options.workers = 0;
    const Rates one = loader_rates(set, options, &kept);
    options.workers = workers < 0 ? num_threads() - 1 : workers;
    const Rates all = options.workers == 0 ? one : loader_rates(set, options, &kept);
    output.publish(report(n, options.workers + 1, decode, one, all, kept));
    return 0;
  }

  std::shared_ptr<const Dataset> pictures() const {
    const std::shared_ptr<const Dataset> all = open_data(data, 0, image_size, image_size).train;
    return std::make_shared<SubsetDataset>(all, spread_over(all->size(), images));
  }

  static Rates loader_rates(const std::shared_ptr<const Dataset>& set, const DataOptions& options,
                            DecodedCache::Size* kept) {
    Rates rates;
    std::unique_ptr<Loader> loader;
    rates.first_epoch = rate_of(set->size(), [&] {
      loader = std::make_unique<Loader>(set, options);
      read_epoch(*loader);
    });
    rates.later_epochs = rate_of(set->size(), [&] { read_epoch(*loader); });
    *kept = loader->cache().size();
    return rates;
  }

  Report report(int64_t n, int threads, double decode, const Rates& one, const Rates& all,
                const DecodedCache::Size& kept) const {
    Report r;
    r.title = fmt::format("{} pictures of {}, {}, to {} px, batch {}", n, data, augment, image_size,
                          batch);
    const char* one_thread = "pictures/s on one thread";
    const std::string all_threads = fmt::format("pictures/s on {} threads", threads);
    const double cache = static_cast<double>(kept.bytes) / (1 << 20);
    r.figures = {
        {"bench", "", "data"},
        {"data", "", data},
        {"images", "", n},
        {"image_size", "", image_size},
        {"augment", "", augment},
        {"batch_size", "", batch},
        {"threads", "", threads},
        {"decode_images_per_s_core", "decode alone", decode, one_thread, 0},
        {"first_epoch_images_per_s_core", "first epoch", one.first_epoch, one_thread, 0},
        {"later_epochs_images_per_s_core", "later epochs", one.later_epochs, one_thread, 0},
        {"first_epoch_images_per_s", "first epoch", all.first_epoch, all_threads, 0},
        {"later_epochs_images_per_s", "later epochs", all.later_epochs, all_threads, 0},
        {"cached_images", "kept decoded", kept.pictures,
         fmt::format("pictures, {:.0f} MiB", cache)},
        {"cached_mb", "", cache}};
    r.bars_title = "Share of the fastest epoch";
    const double most =
        std::max({decode, one.first_epoch, one.later_epochs, all.first_epoch, all.later_epochs});
    for (const auto& [what, alone, together] :
         {std::tuple{"first epoch", one.first_epoch, all.first_epoch},
          std::tuple{"later epochs", one.later_epochs, all.later_epochs}}) {
      r.bars.push_back({what, one_thread, alone / most, fmt::format("{:.0f} /s", alone)});
      r.bars.push_back({what, all_threads, together / most, fmt::format("{:.0f} /s", together)});
    }
    r.bars.push_back({"decode alone", one_thread, decode / most, fmt::format("{:.0f} /s", decode)});
    return r;
  }
};

}  // namespace

Command add_bench_data(CLI::App& bench) {
  CLI::App& app = *bench.add_subcommand("data", "time reading and augmenting pictures");
  auto settings = std::make_shared<DataBench>();
  app.add_option("--data", settings->data, "as in tessera pretrain mae")->capture_default_str();
  app.add_option("--image-size", settings->image_size, "pixels a side")->capture_default_str();
  app.add_option("--augment", settings->augment, "none, flip, crop-flip or shift-flip")
      ->capture_default_str();
  add_images(app, &settings->images, "pictures an epoch, at most, spread over the set")
      ->capture_default_str();
  app.add_option("--batch-size", settings->batch, "pictures at a time")->capture_default_str();
  app.add_option("--workers", settings->workers,
                 "threads beside the first [default: one for each other core]")
      ->check(not_negative());
  app.add_option("--decoded-cache", settings->decoded_cache,
                 "MiB of decoded pictures kept [default: a quarter of the free memory]")
      ->check(CLI::Range(0, 1 << 30));
  settings->output.add_to(app);
  app.footer("Example:\n  tessera bench data --data photos/ --images 1000 --workers 1");
  return {&app, [settings] { return settings->run(); }};
}

}  // namespace tessera
