// `tessera curves`: what runs have logged, as a picture.
#include "train/curves.h"

#include <filesystem>
#include <memory>

#include "engine/error.h"
#include "tools/command.h"
#include "train/files/atomic_file.h"
#include "train/files/file_io.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "A run is its folder; NAME=FOLDER names it. Runs of one name (seeds of one recipe, say) share\n"
    "a colour, and their mean and standard deviation stand at the end. Every run draws its own\n"
    "curves.svg whenever it saves a checkpoint.\n"
    "\n"
    "Examples:\n"
    "  tessera curves runs/photos --out photos.svg\n"
    "  tessera curves mae=runs/a mae=runs/b scratch=runs/c scratch=runs/d \\\n"
    "    --figure loss --figure eval_top1 --out seeds.svg";

struct CurvesFlags {
  std::vector<std::string> runs, figures;
  std::string out;
};

// A folder may have a '=' in its own name.
RunCurve read_run(const std::string& words) {
  const size_t equals = words.find('=');
  const bool named = equals != words.npos && !std::filesystem::exists(words);
  std::filesystem::path folder = named ? words.substr(equals + 1) : words;
  TESSERA_CHECK_USAGE(std::filesystem::is_directory(folder), "{}: there is no such run",
                      folder.string());
  const std::string file = (folder / "metrics.jsonl").string();
  TESSERA_CHECK_USAGE(std::filesystem::exists(file), "{}: no run's folder: it has no metrics.jsonl",
                      folder.string());
  if (!folder.has_filename()) folder = folder.parent_path();  // "runs/photos/"
  return {named ? words.substr(0, equals) : folder.filename().string(), read_metrics(file)};
}

int run(const CurvesFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.runs.empty(), "name the folder of a run");
  TESSERA_CHECK_USAGE(flags.out.ends_with(".svg"), "--out: name an .svg file to write");
  check_place_for_file("--out", flags.out);
  std::vector<RunCurve> runs;
  for (const std::string& words : flags.runs) runs.push_back(read_run(words));
  write_file_atomically(
      flags.out, curves_svg(runs, flags.figures.empty() ? curve_figures(runs) : flags.figures));
  fmt::print("{}\n", flags.out);
  return 0;
}

}  // namespace

Command add_curves(CLI::App& root) {
  CLI::App* app = root.add_subcommand("curves", "draw what runs have logged");
  app->footer(kNotes);
  const auto flags = std::make_shared<CurvesFlags>();
  app->add_option("RUN", flags->runs, "folders of runs, as FOLDER or NAME=FOLDER");
  app->add_option("--figure", flags->figures, "draw this alone; again for more [default: all]")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app->add_option("--out", flags->out, "the .svg file to write")->type_name("FILE");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
