// The bench commands on tiny sizes: what they print and write, and that `bench ops` leaves nothing
// out. How fast anything is is no business of a test.
#include <nlohmann/json.hpp>
#include <set>

#include "tests/ops/table.h"
#include "tests/tools/program.h"
#include "tests/tools/well_formed.h"

namespace tessera {
namespace {

using nlohmann::json;

const Words kTinyStep = {"bench",        "step", "--arch",       "vit_tiny", "--image-size", "16",
                         "--patch-size", "8",    "--batch-size", "2",        "--steps",      "3"};
const Words kTinyGemm = {"bench",        "gemm", "--arch",       "vit_tiny",
                         "--image-size", "16",   "--patch-size", "8",
                         "--batch-size", "2",    "--seconds",    "0.001"};
const Words kTinyData = {"bench",    "data", "--data",       "builtin:", "--image-size", "16",
                         "--images", "24",   "--batch-size", "5",        "--workers",    "1"};
const Words kTinyOps = {"bench", "ops", "--batch-size", "1", "--seconds", "0.001"};

// The one line of JSON that a command prints.
json line_of(const Words& words) {
  const Outcome outcome = run(words + Words{"--json"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.empty());
  REQUIRE(lines_of(outcome.out).size() == 1);
  return json::parse(outcome.out);
}

// What a person sees, in the table and on the page: names of rows, columns and figures. `drawn` is
// on the page alone. Returns the table.
std::string check_text_and_page(const Words& words, const std::vector<std::string>& shown,
                                const std::vector<std::string>& drawn) {
  const TempFolder folder;
  const std::string path = folder.file("page.html");
  const Outcome outcome = run(words + Words{"--html", path});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.empty());
  CHECK(folder.names() == std::vector<std::string>{"page.html"});
  const std::string page = slurp(path);
  CHECK(markup_fault(page) == "");
  CHECK(page.find("http") == page.npos);
  CHECK(page.find("<svg") != page.npos);
  CHECK(page.find("<rect") != page.npos);
  for (const std::string& text : shown) {
    INFO(text);
    CHECK(outcome.out.find(text) != std::string::npos);
    CHECK(page.find(text) != page.npos);
  }
  for (const std::string& text : drawn) {
    INFO(text);
    CHECK(page.find(text) != page.npos);
  }
  return outcome.out;
}

}  // namespace

TEST_CASE("bench step: one line with what a machine needs") {
  const json line = line_of(kTinyStep + Words{"--threads", "1"});
  for (const char* key : {"step_s", "images_per_s", "gflop_per_image", "utilisation", "peak_rss_mb",
                          "product_peak_gflops"}) {
    INFO(key);
    REQUIRE(line.contains(key));
    CHECK(line[key].get<double>() > 0);
  }
  CHECK(line["threads"] == 1);
  CHECK(line["device"] == "cpu");
  CHECK(line["precision"] == "f32");
  CHECK(line["model"] == "mae");
  CHECK(line["arch"] == "vit_tiny");
  CHECK(line["image_size"] == 16);
  CHECK(line["patch_size"] == 8);
  CHECK(line["batch_size"] == 2);
  CHECK(line["steps"] == 3);
  CHECK(line["tokenizer"] == "");
  CHECK(line["vocab"] == 0);
  CHECK(line["tf32"] == false);
  CHECK(line["checkpoint_activations"] == false);
  CHECK(line["skipped_updates"] == 0);
  const double rate = line["images_per_s"], step = line["step_s"];
  CHECK(rate == Approx(2 / step));
  const double work = line["gflop_per_image"], peak = line["product_peak_gflops"];
  CHECK(line["utilisation"].get<double>() == Approx(rate * work / peak));
}

// The one line of JSON; the only word beside it may be that 16 bits gain no time here.
json step_of(const Words& more) {
  const Outcome outcome = run(kTinyStep + more + Words{"--json"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  const bool said = outcome.err.find("products of it are no faster than f32's") != outcome.err.npos;
  CHECK(outcome.err.empty() == !said);
  return json::parse(outcome.out);
}

TEST_CASE("bench step: what 16 bits, checkpoints and BEiT change") {
  const json plain = step_of({}), low = step_of({"--precision", "bf16"});
  CHECK(low["precision"] == "bf16");
  CHECK(low["arena_mb"] > plain["arena_mb"]);  // the weights' 16-bit copies
  CHECK(low["saved_mb"] < plain["saved_mb"]);
  const json again = step_of({"--checkpoint-activations"});
  CHECK(again["saved_mb"].get<double>() < 0.5 * plain["saved_mb"].get<double>());
  CHECK(again["arena_mb"] == plain["arena_mb"]);
  CHECK(again["checkpoint_activations"] == true);
  CHECK(step_of({"--tf32"})["tf32"] == true);
  for (const json& line : {plain, low, again}) {
    CHECK(line["tensor_peak_mb"] > line["arena_mb"]);
    CHECK(line["workspace_mb"] > 0);
    CHECK(line["cached_mb"] > 0);
    CHECK(line["graph"] == "off");
  }
  const json beit = step_of({"--model", "beit"}),
             few = step_of({"--model", "beit", "--vocab", "32"});
  CHECK(beit["model"] == "beit");
  CHECK(few["vocab"] == 32);
  CHECK(few["gflop_per_image"] < beit["gflop_per_image"]);
  CHECK(run(kTinyStep + Words{"--vocab", "32"}).status == 2);
}

TEST_CASE("bench step in f16: the loss is scaled as in a training, and every timed step updates") {
  for (const std::string model : {"mae", "beit"}) {
    const json line = step_of({"--precision", "f16", "--model", model});
    INFO(model);
    CHECK(line["precision"] == "f16");
    CHECK(line["images_per_s"] > 0);
    CHECK(line["skipped_updates"] == 0);
  }
}

// The copy's two buffers take 512 MiB, a tiny step less than 200.
TEST_CASE("bench step: measuring the machine is no memory of the steps") {
  const Outcome outcome = run(kTinyStep + Words{"--profile", "--json"});
  REQUIRE(outcome.status == 0);
  CHECK(json::parse(outcome.out)["peak_rss_mb"] < 400);
}

TEST_CASE("bench step: a profile, and its products under the roof") {
  const TempFolder folder;
  const std::string path = folder.file("page.html");
  const Outcome outcome = run(kTinyStep + Words{"--profile", "--html", path});
  CHECK(outcome.status == 0);
  for (const char* op : {"linear backward", "attention", "adamw", "of limit"}) {
    CHECK(outcome.err.find(op) != std::string::npos);
  }
  const std::string page = slurp(path);
  CHECK(markup_fault(page) == "");
  CHECK(page.find("class=\"dot\"") != page.npos);
  CHECK(page.find("linear backward (a step)") != page.npos);
}

TEST_CASE("bench step for people, and as a page") {
  check_text_and_page(kTinyStep,
                      {"vit_tiny", "16 px", "median of 3", "product peak", "utilisation", "MiB"},
                      {"step 3"});
}

TEST_CASE("bench gemm: every product of the model, three ways, on every implementation") {
  const json line = line_of(kTinyGemm);
  CHECK(line["bench"] == "gemm");
  const double peak = line["product_peak_gflops"];
  CHECK(peak > 0);
  std::set<std::string> layers, passes;
  for (const json& row : line["rows"]) {
    layers.insert(row["product"]);
    passes.insert(row["pass"]);
    for (const std::string name : {"tessera", "onednn", "eigen"}) {
      INFO(name);
      const double speed = row[name + "_gflops"];
      CHECK(speed > 0);
      CHECK(row[name + "_share"].get<double>() == Approx(speed / peak));
    }
  }
  CHECK(passes == std::set<std::string>{"forward", "dgrad", "wgrad"});
  CHECK(layers == std::set<std::string>{"patches", "encoder qkv", "encoder proj", "encoder fc1",
                                        "encoder fc2", "decoder embed", "decoder qkv",
                                        "decoder proj", "decoder fc1", "decoder fc2", "pred"});
  CHECK(line["rows"].size() == 3 * layers.size());
  // Two pictures of 2 x 2 patches: one is visible, three are not; five tokens with the class.
  for (const json& row : line["rows"]) {
    if (row["product"] == "patches") CHECK(row["m"] == 2);
    if (row["product"] == "encoder fc1") {
      CHECK(row["m"] == 4);
      CHECK(row["n"] == 4 * 192);
      CHECK(row["k"] == 192);
    }
    if (row["product"] == "decoder qkv") CHECK(row["m"] == 10);
    if (row["product"] == "pred") {
      CHECK(row["m"] == 6);
      CHECK(row["n"] == 8 * 8 * 3);
    }
  }
}

TEST_CASE("bench gemm for people, and as a page; without those that lack the type") {
  const std::string table =
      check_text_and_page(kTinyGemm + Words{"--precision", "bf16"},
                          {"bf16", "product peak", "tessera", "decoder fc2", "wgrad", "GFLOP/s"},
                          {"Roofline", "<circle"});
  CHECK(table.find("eigen") == table.npos);
}

TEST_CASE("bench data: rates of files and of the cache, on one thread and on all") {
  const json line = line_of(kTinyData);
  CHECK(line["images"] == 24);
  CHECK(line["threads"] == 2);
  CHECK(line["cached_images"] == 24);
  for (const char* rate : {"decode_images_per_s_core", "first_epoch_images_per_s_core",
                           "later_epochs_images_per_s_core", "first_epoch_images_per_s",
                           "later_epochs_images_per_s", "cached_mb"}) {
    INFO(rate);
    CHECK(line[rate] > 0);
  }
  CHECK(line["later_epochs_images_per_s_core"] > line["first_epoch_images_per_s_core"]);
  CHECK(line_of(kTinyData + Words{"--decoded-cache", "0"})["cached_images"] == 0);
}

TEST_CASE("bench data for people, and as a page") {
  check_text_and_page(kTinyData,
                      {"decode alone", "first epoch", "later epochs", "24 pictures", "MiB",
                       "on one thread", "on 2 threads"},
                      {"fastest"});
}

TEST_CASE("bench ops leaves out no function of functions.h, or says why") {
  const json line = line_of(kTinyOps);
  CHECK(line["bench"] == "ops");
  const std::vector<std::string> declared =
      ops_test::declared_functions(slurp("autograd/functions.h"), slurp("engine/elementwise.h"));
  REQUIRE(declared.size() > 70);  // else the headers were not found
  std::set<std::string> timed;
  for (const json& row : line["rows"]) {
    timed.insert(row["op"]);
    INFO(row.dump());
    CHECK(row["seconds"].get<double>() > 0);
    CHECK(row["gb_per_s"].get<double>() > 0);
    CHECK(row["share"].get<double>() > 0);
    // The share is of what binds: the longer of the two least times.
    const double product = row["gflops"].get<double>() / line["product_peak_gflops"].get<double>();
    const double copy = row["gb_per_s"].get<double>() / line["copy_gb_per_s"].get<double>();
    CHECK(row["share"].get<double>() == Approx(std::max(product, copy)));
    CHECK(row["bound"] == (product > copy ? "product" : "copy"));
  }
  for (const std::string& name : declared) {
    const bool exempt = line["without_cost"].contains(name);
    INFO(name);
    CHECK(timed.contains(name) != exempt);  // either a row or a reason, never both
  }
  for (const auto& [name, why] : line["without_cost"].items()) {
    INFO(name);
    CHECK(std::count(declared.begin(), declared.end(), name) == 1);
    CHECK(why.get<std::string>().size() > 5);
  }
  for (const char* name : {"adamw", "copy", "sum_squares"}) CHECK(timed.contains(name));
}

TEST_CASE("bench ops: rows that are asked for, forward and backward") {
  const json line = line_of(kTinyOps + Words{"--only", "softmax,add,where", "--precision", "bf16"});
  std::vector<std::string> rows;
  for (const json& row : line["rows"]) {
    rows.push_back(row["op"].get<std::string>() + " " + row["pass"].get<std::string>());
  }
  // The gradient of a sum passes through: nothing to time.
  CHECK(rows == std::vector<std::string>{"add forward", "where forward", "where backward",
                                         "softmax forward", "softmax backward"});
  CHECK(line["precision"] == "bf16");
}

TEST_CASE("bench ops for people, and as a page") {
  check_text_and_page(kTinyOps + Words{"--only", "linear,layer_norm"},
                      {"large copy", "product peak", "layer_norm", "backward", "GB/s", "(50, 768)"},
                      {"<circle", "Roofline"});
}

}  // namespace tessera
