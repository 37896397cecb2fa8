// The commands that look at encoders and classifiers, as a user types them: probe, features,
// attention, evaluate classification, predict. What they say is compared with what others of them
// say of the same pictures.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "data/builtin.h"
#include "data/decode.h"
#include "tests/tools/program.h"
#include "train/files/png_file.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A finished tiny MAE of two blocks, and a classifier of three classes made of it; built once.
struct Runs {
  TempFolder folder;
  std::string mae = folder.file("mae"), classifier = folder.file("classifier");
  std::string train = folder.file("train"), test = folder.file("test");

  Runs() {
    add_pictures(train, {"ant", "bee", "cow"}, 10, 0);
    add_pictures(test, {"ant", "bee", "cow"}, 4, 500);
    require(tiny_pretrain(mae, 3) + Words{"--depth", "2"});
    require({"finetune", "--checkpoint", mae, "--data", train, "--batch-size", "5", "--max-steps",
             "4", "--eval-every", "0", "--out", classifier});
  }

  static void require(const Words& words) {
    const Outcome outcome = run(words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
  }

  // `count` drawn pictures a class; which one does not matter.
  static void add_pictures(const std::string& folder, const Words& classes, int count,
                           int64_t first) {
    const BuiltinDataset drawn(1000, false, PictureStream::kTraining, 20, 24);
    for (const std::string& name : classes) {
      fs::create_directories(folder + "/" + name);
      for (int i = 0; i < count; ++i, ++first) {
        write_png(folder + "/" + name + "/" + std::to_string(i) + ".png", drawn.picture(first));
      }
    }
  }
};

const Runs& runs() {
  static const Runs made;
  return made;
}

Outcome good(const Words& words) {
  Outcome outcome = run(words);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return outcome;
}

struct Table {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;
  std::vector<int64_t> labels;
  Metadata metadata;
};

// What `features` writes of a folder.
Table features_of(const std::string& data, const Words& more = {}) {
  const TempFolder folder;
  const std::string path = folder.file("f.safetensors");
  good(Words{"features", "--checkpoint", runs().mae, "--data", data, "--out", path} + more);
  const SafetensorsReader file(path);
  const SafetensorsEntry& entry = file.at("features");
  Table table{entry.shape[0], entry.shape[1], {}, {}, file.metadata()};
  table.values.resize(entry.bytes / sizeof(float));
  file.read(entry, std::as_writable_bytes(std::span(table.values)));
  table.labels.resize(static_cast<size_t>(table.rows));
  file.read(file.at("labels"), std::as_writable_bytes(std::span(table.labels)));
  return table;
}

Words probe(const Words& more) {
  return Words{"probe",      "--checkpoint", runs().mae, "--data",
               runs().train, "--test-data",  runs().test} +
         more;
}

Words classify(const std::string& data, const Words& more = {}) {
  return Words{"evaluate", "classification", "--checkpoint", runs().classifier, "--data", data} +
         more;
}

}  // namespace

TEST_CASE("features: one row a picture, with names, labels and classes") {
  const Table table = features_of(runs().train);
  CHECK(table.rows == 30);
  CHECK(table.columns == 32);
  CHECK(table.labels[9] == 0);
  CHECK(table.labels[10] == 1);
  const json names = json::parse(table.metadata.at("names"));
  CHECK(names.size() == 30);
  CHECK(names[10] == runs().train + "/bee/0.png");
  CHECK(json::parse(table.metadata.at("classes")) == json({"ant", "bee", "cow"}));
  CHECK(table.metadata.at("block") == "2");
  CHECK(table.metadata.at("pool") == "both");

  // Class token and mean are the halves of both; another block is another table.
  const Table token = features_of(runs().train, {"--pool", "class"});
  const Table mean = features_of(runs().train, {"--pool", "mean", "--threads", "1"});
  const Table first = features_of(runs().train, {"--pool", "mean", "--block", "1"});
  for (int64_t i = 0; i < 30; ++i) {
    for (int64_t d = 0; d < 16; ++d) {
      REQUIRE(table.values[i * 32 + d] == token.values[i * 16 + d]);
      REQUIRE(table.values[i * 32 + 16 + d] == mean.values[i * 16 + d]);
    }
  }
  CHECK(first.values != mean.values);
  // Some of them, spread over the classes.
  const Table some = features_of(runs().train, {"--pool", "mean", "--images", "3"});
  CHECK(some.labels == std::vector<int64_t>{0, 1, 2});
  CHECK(std::vector<float>(some.values.begin() + 16, some.values.begin() + 32) ==
        std::vector<float>(mean.values.begin() + 160, mean.values.begin() + 176));
}

TEST_CASE("features as .npy: the same numbers, names in lines beside it") {
  const TempFolder folder;
  const Words command = {"features", "--checkpoint", runs().mae, "--data", runs().train};
  good(command + Words{"--out", folder.file("f.npy")});
  CHECK(folder.names() == std::vector<std::string>{"f.jsonl", "f.npy"});
  const Table table = features_of(runs().train);
  const std::string bytes = slurp(folder.file("f.npy"));
  REQUIRE(bytes.size() == 128 + table.values.size() * sizeof(float));
  CHECK(std::memcmp(bytes.data() + 128, table.values.data(), bytes.size() - 128) == 0);
  const auto lines = lines_of(slurp(folder.file("f.jsonl")));
  REQUIRE(lines.size() == 30);
  CHECK(json::parse(lines[29]) ==
        json{{"name", runs().train + "/cow/9.png"}, {"label", 2}, {"class", "cow"}});
  // A picture without classes has no label; tokens are a table each.
  const std::string one = folder.file("one.npy");
  good({"features", "--checkpoint", runs().mae, "--data", runs().train + "/bee/3.png", "--pool",
        "tokens", "--out", one});
  CHECK(slurp(one).find("(1, 17, 16, )") != std::string::npos);
  CHECK(json::parse(slurp(folder.file("one.jsonl"))).size() == 1);
}

TEST_CASE("a probe's neighbours are those of the features") {
  const Table known = features_of(runs().train, {"--pool", "mean"});
  const Table asked = features_of(runs().test, {"--pool", "mean"});
  const auto cosine = [&](int64_t i, int64_t j) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t d = 0; d < 16; ++d) {
      const double a = known.values[i * 16 + d], b = asked.values[j * 16 + d];
      ab += a * b, aa += a * a, bb += b * b;
    }
    return ab / std::sqrt(aa * bb);
  };
  int right = 0;
  for (int64_t j = 0; j < asked.rows; ++j) {
    int64_t best = 0;
    for (int64_t i = 1; i < known.rows; ++i) {
      if (cosine(i, j) > cosine(best, j)) best = i;
    }
    right += known.labels[best] == asked.labels[j];
  }
  const json line =
      json::parse(good(probe({"--probe", "knn", "--knn-k", "1", "--pool", "mean", "--json"})).out);
  CHECK(line["images"] == 30);
  CHECK(line["test_images"] == 12);
  CHECK(line["classes"] == 3);
  REQUIRE(line["results"].size() == 1);
  CHECK(line["results"][0]["top1"] == right / 12.0);
  CHECK(line["results"][0]["top5"] == 1);
}

TEST_CASE("probe: every block, probe and pool in one table, the same for any threads") {
  const Words all = probe({"--all-blocks", "--epochs", "3", "--batch-size", "8", "--knn-k", "5"});
  const Outcome outcome = good(all + Words{"--json", "--threads", "2"});
  CHECK(good(all + Words{"--json", "--threads", "1"}).out == outcome.out);
  const json results = json::parse(outcome.out)["results"];
  CHECK(results.size() == 2 * 3 * 3);
  CHECK(results[0]["block"] == 1);
  CHECK(results[17]["block"] == 2);
  CHECK(results[0].contains("lambda"));
  CHECK(results[17].contains("train_top1"));
  const Outcome table = good(all);
  CHECK(lines_of(table.out).size() == 2 + 2 * 3);
  CHECK(table.out.find("12 pictures judged, 30 with labels, 3 classes") != std::string::npos);
  CHECK(table.err.empty());

  const Outcome two = good(probe({"--probe", "ridge,knn", "--pool", "both", "--images", "12",
                                  "--test-images", "6", "--knn-k", "3", "--json"}));
  CHECK(json::parse(two.out)["images"] == 12);
  CHECK(json::parse(two.out)["test_images"] == 6);
  CHECK(json::parse(two.out)["results"].size() == 2);
  // A classifier has an encoder, too.
  good({"probe", "--checkpoint", runs().classifier, "--data", runs().train, "--holdout", "0.2",
        "--probe", "ridge"});
}

TEST_CASE("--probe-every: what probe says of the same pictures, and the run's bytes as they were") {
  const TempFolder folder;
  const Words training = tiny_pretrain(folder.file("run"), 4) +
                         Words{"--data", runs().train, "--holdout", "0.4", "--batch-size", "4"};
  good(training + Words{"--probe-every", "3"});
  std::map<int, json> records;
  for (const std::string& text : lines_of(slurp(folder.file("run/metrics.jsonl")))) {
    const json record = json::parse(text);
    records[record["step"]] = record;
  }
  for (const int step : {1, 2}) CHECK_FALSE(records[step].contains("probe_knn"));
  CHECK(records[3].contains("probe_knn"));
  const json line = json::parse(
      good({"probe", "--checkpoint", folder.file("run"), "--data", runs().train, "--holdout", "0.4",
            "--pool", "both", "--probe", "ridge,knn", "--knn-k", "18", "--json"})
          .out);
  CHECK(line["test_images"] == 12);
  CHECK(records[4]["probe_ridge"] == line["results"][0]["top1"]);
  CHECK(records[4]["probe_knn"] == line["results"][1]["top1"]);

  good(training + Words{"--out", folder.file("plain")});
  const std::string name = "/step-00000004.safetensors";
  CHECK(slurp(folder.file("run") + name) == slurp(folder.file("plain") + name));

  const Words again = training + Words{"--out", folder.file("none"), "--probe-every"};
  check_mistake(again + Words{"-1"}, "--probe-every -1");
  check_mistake(again + Words{"1", "--holdout", "0"}, "nothing is held out");
  check_mistake(again + Words{"1", "--data", runs().train + "/ant"}, "no classes");
  CHECK(!fs::exists(folder.file("none")));
}

TEST_CASE("attention: one sheet, a row a picture or a block") {
  const TempFolder folder;
  const Words command = {"attention", "--checkpoint", runs().mae, "--data", runs().test};
  const std::string png = folder.file("a.png"), blocks = folder.file("b.png");
  const Outcome outcome = good(command + Words{"--images", "3", "--out", png});
  CHECK(outcome.out.find("block 2 of 2") != std::string::npos);
  const Image sheet = read_image(png);
  CHECK(sheet.width == 4 + 5 * (128 + 4));  // picture, mean, rollout, two heads; 16 x 16 eightfold
  CHECK(sheet.height == 16 + 3 * (128 + 4));
  good(command + Words{"--images", "1", "--all-blocks", "--out", blocks});
  CHECK(read_image(blocks).height == 16 + 2 * (128 + 4));
  const std::string first = folder.file("c.png");
  good(command + Words{"--images", "3", "--block", "1", "--out", first});
  CHECK(read_image(first).pixels != sheet.pixels);
  good({"attention", "--checkpoint", runs().classifier, "--data", runs().test + "/cow/1.png",
        "--out", first});
}

TEST_CASE("predict and evaluate classification agree on the same pictures") {
  const Outcome answers =
      good({"predict", "--checkpoint", runs().classifier, "--data", runs().test, "--json"});
  int right = 0;
  std::map<std::pair<std::string, std::string>, int> taken;
  for (const std::string& text : lines_of(answers.out)) {
    const json line = json::parse(text);
    double total = 0;
    std::string best;
    for (const auto& [name, share] : line["probabilities"].items()) {
      total += share.get<double>();
      if (best.empty() || share > line["probabilities"][best]) best = name;
    }
    CHECK(total == Approx(1).epsilon(1e-5));
    CHECK(line["class"] == best);
    const std::string truth = fs::path(line["name"].get<std::string>()).parent_path().filename();
    right += truth == best;
    ++taken[{truth, best}];
  }
  const json scores = json::parse(good(classify(runs().test, {"--json"})).out);
  CHECK(scores["images"] == 12);
  CHECK(scores["top1"] == right / 12.0);
  CHECK(scores["top5"] == 1);
  const std::vector<std::string> names = {"ant", "bee", "cow"};
  for (size_t t = 0; t < 3; ++t) {
    CHECK(scores["classes"][t]["name"] == names[t]);
    CHECK(scores["classes"][t]["images"] == 4);
    CHECK(scores["classes"][t]["recall"] == taken[{names[t], names[t]}] / 4.0);
    for (size_t a = 0; a < 3; ++a) CHECK(scores["confusion"][t][a] == taken[{names[t], names[a]}]);
  }
}

TEST_CASE("names that are not UTF-8 come out as JSON all the same") {
  const TempFolder folder;
  const std::string data = folder.file("odd"), out = folder.file("f.npy");
  Runs::add_pictures(data, {"caf\xe9"}, 2, 0);
  fs::rename(data + "/caf\xe9/1.png", data + "/caf\xe9/\xff.png");
  const Outcome answers =
      good({"predict", "--checkpoint", runs().classifier, "--data", data, "--json"});
  REQUIRE(lines_of(answers.out).size() == 2);
  for (const std::string& line : lines_of(answers.out)) CHECK_NOTHROW(json::parse(line));
  const Words features = {"features", "--checkpoint", runs().mae, "--data", data, "--out"};
  good(features + Words{out});
  const json row = json::parse(lines_of(slurp(folder.file("f.jsonl")))[0]);
  CHECK(row["class"] == "caf\xef\xbf\xbd");
  good(features + Words{folder.file("f.safetensors")});

  Runs::add_pictures(data, {"bee"}, 2, 0);
  check_mistake({"finetune", "--checkpoint", runs().mae, "--data", data, "--batch-size", "2",
                 "--max-steps", "1", "--out", folder.file("run")},
                "not UTF-8");
  CHECK(!fs::exists(folder.file("run")));
}

TEST_CASE("evaluate classification and predict for people") {
  const TempFolder folder;
  const Outcome outcome =
      good(classify(runs().test, {"--images", "6", "--confusion", folder.file("c.png")}));
  for (const char* word : {"6 pictures, 3 classes", "top 1", "top 5", "recall", "bee"}) {
    CHECK(outcome.out.find(word) != std::string::npos);
  }
  CHECK(read_image(folder.file("c.png")).width == 8 + 3 * 6 + 8 + 3 * 40 + 8);
  // A run's own pictures, those it learned from among them, are not judged without a word.
  const std::string held = folder.file("held");
  good({"finetune", "--checkpoint", runs().mae, "--data", runs().train, "--holdout", "0.2",
        "--batch-size", "5", "--max-steps", "1", "--eval-every", "0", "--out", held});
  const Words judge = {"evaluate", "classification", "--checkpoint", held, "--data", runs().train};
  CHECK(good(judge).err.find("--holdout 0.2") != std::string::npos);
  CHECK(good(judge + Words{"--holdout", "0.2"}).err.empty());

  const Outcome line = good({"predict", "--checkpoint", runs().classifier, "--data",
                             runs().test + "/cow/2.png", "--top", "2"});
  REQUIRE(lines_of(line.out).size() == 1);
  CHECK(line.out.starts_with(runs().test + "/cow/2.png  "));
  CHECK(line.err.empty());
}

TEST_CASE("mistakes with encoders and classifiers are named") {
  const TempFolder folder;
  const std::string flat = folder.file("flat"), other = folder.file("other"),
                    four = folder.file("four"), out = folder.file("out.npy");
  Runs::add_pictures(flat, {"."}, 2, 0);
  Runs::add_pictures(other, {"ant", "bee", "elk"}, 2, 0);
  Runs::add_pictures(four, {"ant", "bee", "cow", "dog"}, 2, 0);
  const Words model = {"--checkpoint", runs().mae};
  const Words kind = {"--checkpoint", runs().classifier};

  check_mistake(Words{"probe", "--data", flat} + model, "no classes");
  check_mistake(Words{"probe", "--data", runs().train} + model, "--holdout");
  check_mistake(Words{"probe", "--data", runs().train, "--test-data", other} + model, "elk");
  check_mistake(probe({"--probe", "svm"}), "svm");
  check_mistake(probe({"--pool", "max"}), "max");
  check_mistake(probe({"--block", "3"}), "--block 3");
  check_mistake(probe({"--images", "0"}), "--images");
  check_mistake(probe({"--knn-k", "31"}), "--knn-k 31");
  check_mistake(probe({"--lr", "0"}), "--lr");
  check_mistake(probe({"--epochs", "0"}), "--epochs 0");
  check_mistake({"probe", "--data", runs().train}, "--checkpoint");
  check_mistake(probe({"--arch", "vit_small"}), "vit_small");

  check_mistake(Words{"features", "--data", flat} + model, "--out");
  check_mistake(Words{"features", "--data", flat, "--out", "x.csv"} + model, "x.csv");
  check_mistake(Words{"features", "--data", flat, "--out", out, "--pool", "max"} + model, "max");
  // Before any work: these pictures would be the next complaint.
  spill(folder.file("broken.jpg"), "hello");
  const Words broken = {"--data", folder.file("broken.jpg")};
  const std::string none = folder.file("none/x.npy");
  check_mistake(Words{"features", "--out", none} + broken + model, none);
  check_mistake(Words{"attention", "--out", none} + broken + model, none);
  check_mistake(Words{"attention", "--out", folder.path()} + broken + model, folder.path());
  check_mistake(classify(folder.file("nowhere"), {"--confusion", none}), none);
  check_mistake(Words{"attention", "--data", flat} + model, "--out");
  check_mistake(Words{"attention", "--data", flat, "--out", out, "--block", "9"} + model,
                "--block 9");

  // Pictures of which none can be read: one line, with the reason.
  check_mistake(Words{"features", "--out", out} + broken + model, "broken.jpg", 1);
  check_mistake(Words{"attention", "--out", folder.file("a.png")} + broken + model, "broken.jpg",
                1);
  check_mistake(Words{"reconstruct", "--out", folder.file("r.png")} + broken + model, "broken.jpg",
                1);
  check_mistake(Words{"evaluate", "reconstruction"} + broken + model, "broken.jpg", 1);
  check_mistake(Words{"predict"} + broken + kind, "broken.jpg", 1);
  const std::string two = folder.file("two");
  fs::create_directory(two);
  for (const char* name : {"/a.jpg", "/b.png"}) spill(two + name, "hello");
  check_mistake(Words{"predict", "--data", two} + kind, "none of 2 pictures could be read", 1);
  fs::copy(flat + "/0.png", two + "/c.png");
  const Outcome some = good(Words{"predict", "--data", two} + kind);
  CHECK(lines_of(some.out).size() == 1);
  REQUIRE(some.error_lines() == 2);
  CHECK(lines_of(some.err)[0].starts_with("passed over: "));

  check_mistake(Words{"evaluate", "classification", "--data", runs().test} + model, "pretrain-mae");
  check_mistake(Words{"predict", "--data", flat} + model, "pretrain-mae");
  check_mistake(classify(flat), "no classes");
  check_mistake(classify(four), "4 classes");
  check_mistake(classify(other), "elk");
  check_mistake(classify(folder.file("nowhere")), "nowhere");
  check_mistake(Words{"predict"} + kind, "--data");
  check_mistake(Words{"predict", "--data", flat, "--top", "0"} + kind, "--top 0");
  spill(folder.file("noise.safetensors"), std::string(1000, '\x7f'));
  for (const Words& command : {Words{"probe", "--data", runs().train, "--holdout", "0.2"},
                               Words{"predict", "--data", flat}}) {
    check_mistake(command + Words{"--checkpoint", folder.file("noise.safetensors")},
                  "noise.safetensors", 1);
  }
  CHECK(!fs::exists(out));
}

TEST_CASE("published files become checkpoints that every command takes") {
  const TempFolder folder;
  const std::string mae = folder.file("mae.safetensors"), tokens = folder.file("d.safetensors");
  const Outcome said = good({"import", "tests/golden/mae_pixels.pth", "--heads", "2",
                             "--decoder-heads", "4", "--out", mae});
  CHECK(said.out.find("32x32") != std::string::npos);
  good({"features", "--checkpoint", mae, "--data", runs().test, "--out", folder.file("f.npy")});
  good({"reconstruct", "--checkpoint", mae, "--data", runs().test, "--out", folder.file("r.png")});
  good({"finetune", "--checkpoint", mae, "--data", runs().train, "--batch-size", "5", "--max-steps",
        "1", "--eval-every", "0", "--out", folder.file("classifier")});

  const std::string files = "tests/train/torch_files/";
  good({"import", files + "encoder.pkl", files + "decoder.pkl", "--out", tokens});
  good({"tokenizer", "evaluate", "--checkpoint", tokens, "--data", "builtin:8", "--out",
        folder.file("t.png")});
  good({"pretrain",     "beit",      "--tokenizer",  tokens,
        "--data",       "builtin:8", "--arch",       "vit_tiny",
        "--depth",      "1",         "--image-size", "32",
        "--batch-size", "4",         "--max-steps",  "1",
        "--eval-every", "0",         "--out",        folder.file("beit")});
}

}  // namespace tessera
