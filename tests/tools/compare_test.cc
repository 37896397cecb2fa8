// tools/compare/pytorch_step.py with stand-ins for both sides: who runs when, and what is made of
// their figures. What PyTorch itself does is not tested here: no test needs it.
#include <sys/stat.h>
#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include "tests/tools/program.h"

namespace tessera {
namespace {

using nlohmann::json;

// A shell script that notes its name and, of its arguments, what comes after --mode and
// --precision; then `body`.
std::string stand_in(const TempFolder& folder, const std::string& name, const std::string& body) {
  const std::string path = folder.file(name);
  spill(path,
        "#!/bin/sh\nmode= precision=f32\nargs=\"$*\"\n"
        "while [ $# -gt 0 ]; do\n"
        "  case $1 in --mode) mode=$2 ;; --precision) precision=$2 ;; esac\n"
        "  shift\ndone\n"
        "echo " +
            name + " $mode $precision >> " + folder.file("order") + "\n" + "echo \"$args\" > " +
            folder.file(name + ".args") + "\n" + body + "\n");
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  return path;
}

std::string ours(const TempFolder& folder) {
  return stand_in(folder, "ours",
                  R"(echo '{"step_s": 0.5, "utilisation": 0.8, "peak_rss_mb": 150}')");
}

// Half the speed in f32, a quarter in bf16; the memory grows from run to run.
std::string torch(const TempFolder& folder) {
  return stand_in(
      folder, "torch",
      "if [ $mode = compile ]; then echo 'no torch.compile here' >&2; exit 1; fi\n"
      "step=1.0; [ $precision = f32 ] || step=2.0\n"
      "runs=$(grep -c torch " +
          folder.file("order") +
          ")\n"
          "echo \"{\\\"step_s\\\": $step, \\\"peak_rss_mb\\\": $((100 * runs)), "
          "\\\"version\\\": \\\"9.9\\\", \\\"threads\\\": 2, \\\"optimizer\\\": \\\"o\\\", "
          "\\\"blas\\\": \\\"b\\\", \\\"imported_mb\\\": 50}\"");
}

struct Compared {
  int status;
  std::string out, err;
};

Compared compare(const TempFolder& folder, const std::string& flags) {
  const std::string out = folder.file("stdout"), err = folder.file("stderr");
  const int status =
      std::system(("python3 tools/compare/pytorch_step.py --batch-size 4 --steps 1 " + flags +
                   " > " + out + " 2> " + err)
                      .c_str());
  return {WEXITSTATUS(status), slurp(out), slurp(err)};
}

}  // namespace

TEST_CASE("both sides run in turn, every second round backwards") {
  const TempFolder folder;
  const Compared c = compare(folder, "--rounds 2 --mode eager --precision f32,bf16 --tessera " +
                                         ours(folder) + " --python " + torch(folder));
  INFO(c.err);
  REQUIRE(c.status == 0);
  CHECK(lines_of(slurp(folder.file("order"))) ==
        std::vector<std::string>{"ours f32", "torch eager f32", "ours bf16", "torch eager bf16",
                                 "torch eager bf16", "ours bf16", "torch eager f32", "ours f32"});
  const std::string args = slurp(folder.file("ours.args"));
  CHECK(args.starts_with("bench step --json --model mae"));
  CHECK(args.find("--batch-size 4") != args.npos);
  CHECK(args.find("--tokenizer") == args.npos);
}

TEST_CASE("ratios, medians and memory; who cannot run is named") {
  const TempFolder folder;
  const std::string sides = "--rounds 3 --tessera " + ours(folder) + " --python " + torch(folder);
  const Compared c = compare(folder, "--json " + sides);
  INFO(c.err);
  REQUIRE(c.status == 0);
  const json line = json::parse(c.out);
  CHECK(line["batch_size"] == 4);
  REQUIRE(line["contestants"].size() == 6);  // both precisions: ours, eager, compiled
  const json& eager = line["contestants"][1];
  CHECK(eager["step_s"] == 1.0);
  CHECK(eager["images_per_s"] == 4.0);
  CHECK(eager["ratio"] == 2.0);
  CHECK(line["contestants"][0]["images_per_s"] == 8.0);
  CHECK_FALSE(line["contestants"][0].contains("ratio"));
  CHECK(line["contestants"][4]["ratio"] == 4.0);
  CHECK(line["contestants"][2]["trouble"] == "no torch.compile here (exit 1)");
  // The largest memory of any round counts.
  CHECK(eager["memory_mb"].get<double>() > 300);

  const Compared text = compare(folder, sides);
  REQUIRE(text.status == 0);
  for (const char* part : {"2.00 x as fast", "4.00 x as fast", "torch 9.9 eager", "8.00 images/s",
                           "80 % of the product peak", "not measured: no torch.compile here",
                           "against the fastest of them: 2.00 x", "2 threads, o, b"}) {
    INFO(text.out);
    INFO(part);
    CHECK(text.out.find(part) != text.out.npos);
  }
}

TEST_CASE("a tokenizer is handed to both sides") {
  const TempFolder folder;
  const Compared c = compare(folder, "--model beit --tokenizer runs/t --rounds 1 --mode eager " +
                                         std::string("--precision f32 --tessera ") + ours(folder) +
                                         " --python " + torch(folder));
  REQUIRE(c.status == 0);
  CHECK(slurp(folder.file("ours.args")).find("--tokenizer runs/t") != std::string::npos);
  CHECK(c.out.starts_with("beit with its tokenizer"));
  CHECK(compare(folder, "--tokenizer runs/t").status == 2);  // of MAE
}

TEST_CASE("nothing measured is a failure, a wrong word the user's mistake") {
  const TempFolder folder;
  const Compared none = compare(folder, "--tessera /nonexistent --python /nonexistent --rounds 1");
  CHECK(none.status == 1);
  CHECK(none.err.find("nothing could be measured") != none.err.npos);
  CHECK(compare(folder, "--precision f16").status == 2);
  CHECK(compare(folder, "--mode fast").status == 2);
  CHECK(compare(folder, "--rounds 0").status == 2);
}

}  // namespace tessera
