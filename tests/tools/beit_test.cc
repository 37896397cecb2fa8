// BEiT as a user types it: the runs and their resumes, what is made of them, the mistakes.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "data/decode.h"
#include "tests/tools/tiny_beit.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What the best answer that looks at no picture gets: the tokens' entropy as its loss, the most
// frequent one's share as its accuracy.
struct Blind {
  double loss = 0, accuracy = 0;
};

Blind blind_answer(const std::string& token_cache) {
  const SafetensorsReader file(token_cache);
  const SafetensorsEntry& entry = file.at("tokens");  // i32
  std::vector<int32_t> ids(entry.bytes / sizeof(int32_t));
  file.read(entry, std::as_writable_bytes(std::span(ids)));
  std::map<int32_t, double> shares;
  for (const int32_t id : ids) shares[id] += 1 / double(ids.size());
  Blind blind;
  for (const auto& [id, share] : shares) {
    blind.loss -= share * std::log(share);
    blind.accuracy = std::max(blind.accuracy, share);
  }
  return blind;
}

}  // namespace

TEST_CASE("BEiT stops and goes on to the same bytes, in every kind of mask and bias") {
  const std::vector<Words> kinds = {
      {"--mask", "block", "--accumulate", "2"},
      {"--mask", "block-exact", "--relative-bias", "per-block", "--precision", "bf16"},
      {"--mask", "random", "--relative-bias", "none", "--absolute-positions", "--qkv-bias", "all",
       "--layer-scale", "0", "--head-dim", "4", "--ema-decay", "0.9"},
      {"--mask-ratio-schedule", "loss", "--mask-ratio-end", "0.6", "--mask-loss-end", "3.1",
       "--augment", "crop-flip", "--checkpoint-activations"}};
  for (const Words& kind : kinds) {
    INFO(kind[1]);
    check_resume([&](const std::string& out) { return tiny_beit(out, 200) + kind; },
                 {"pretrain", "beit"}, 200);
  }
}

TEST_CASE("a loss-driven mask ratio of a MAE resumes to the same bytes and is logged") {
  const TempFolder folder;
  const Words schedule = {"--mask-ratio-schedule", "loss", "--mask-ratio",    "0.5",
                          "--mask-ratio-end",      "0.9",  "--mask-loss-end", "0.5"};
  check_resume([&](const std::string& out) { return tiny_pretrain(out, 300) + schedule; },
               {"pretrain", "mae"}, 300);
  const std::string linear = folder.file("linear");
  REQUIRE(run(tiny_pretrain(linear, 40) + Words{"--mask-ratio-schedule", "linear", "--mask-ratio",
                                                "0.5", "--mask-ratio-end", "0.75"})
              .status == 0);
  const std::vector<json> records = metrics_of(linear);
  CHECK(records.front().at("mask_ratio") == 0.5);
  CHECK(records.back().at("mask_ratio") == Approx(0.75));
  std::set<double> levels;
  for (const json& record : records) levels.insert(record.at("mask_ratio").get<double>());
  CHECK(levels.size() == 16);
}

TEST_CASE("BEiT learns from what it sees, and an evaluation draws what it predicts") {
  const TempFolder folder;
  const std::string out = folder.file("run"), cache = folder.file("tokens.safetensors");
  const Outcome outcome =
      run(tiny_beit(out, 300) + Words{"--base-lr", "1", "--eval-every", "300", "--mask", "random",
                                      "--token-cache", cache});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  const std::vector<json> records = metrics_of(out);
  double before = 0, after = 0;
  for (size_t i = 0; i < 20; ++i) {
    before += records[i].at("loss").get<double>() / 20;
    after += records[records.size() - 1 - i].at("loss").get<double>() / 20;
  }
  const Blind blind = blind_answer(cache);
  INFO("blind: loss " << blind.loss << ", accuracy " << blind.accuracy);
  REQUIRE(blind.loss > 2);  // as varied as 7 tokens at least
  CHECK(before > blind.loss);
  // It gets 0.5 below, and more than twice the accuracy.
  CHECK(after < blind.loss - 0.3);
  CHECK(records.back().at("eval_loss").get<double>() < blind.loss - 0.3);
  CHECK(records.back().at("eval_masked_accuracy").get<double>() > 1.5 * blind.accuracy);
  const Image sheet = read_image(out + "/prediction-00000300.png");
  CHECK(sheet.height > 8 * 16);
  CHECK(outcome.err.find("masked tokens right") != std::string::npos);
  CHECK(outcome.err.find("million parameters") != std::string::npos);
}

TEST_CASE("a BEiT's encoder is fine-tuned, probed and exported, its checkpoint described") {
  const TempFolder folder;
  for (const std::string bias : {"shared", "per-block"}) {
    INFO(bias);
    const std::string beit = folder.file("beit-" + bias), tuned = folder.file("tuned-" + bias);
    REQUIRE(run(tiny_beit(beit, 3) + Words{"--relative-bias", bias, "--ema-decay", "0.5"}).status ==
            0);
    const std::vector<Words> uses = {
        {"finetune", "--checkpoint", beit, "--data", "builtin:20", "--batch-size", "4",
         "--max-steps", "2", "--eval-every", "0", "--out", tuned},
        {"features", "--checkpoint", beit, "--data", "builtin:4", "--out",
         folder.file("features-" + bias + ".npy")},
        {"info", "--checkpoint", beit},
        {"info", "--checkpoint", tuned},
        {"export", "--checkpoint", tuned, "--out", folder.file("tuned-" + bias + ".safetensors")},
        {"info", "--checkpoint", tokenizer()},
        {"export", "--checkpoint", beit, "--out", folder.file(bias + ".safetensors")}};
    for (const Words& use : uses) {
      const Outcome outcome = run(use);
      INFO(use[0] << ": " << outcome.err);
      CHECK(outcome.status == 0);
    }
    const Outcome info = run({"info", "--checkpoint", beit});
    CHECK(info.out.find("pretrain-beit") != std::string::npos);
    CHECK(info.out.find("tokenizer-id") != std::string::npos);
  }
}

TEST_CASE(
    "BEiT's colours are jittered where its crops are random, and a run keeps its own jitter") {
  const TempFolder folder;
  const auto crop = [&](const std::string& out, const Words& more) {
    const Words words = {"--augment", "crop-flip", "--checkpoint-every", "4"};
    REQUIRE(run(tiny_beit(out, 8) + words + more).status == 0);
  };
  const std::string flip = folder.file("flip"), by_itself = folder.file("by-itself");
  const std::string named = folder.file("named"), without = folder.file("without");
  REQUIRE(run(tiny_beit(flip, 1)).status == 0);
  CHECK(slurp(flip + "/config.toml").find("\ncolor-jitter = 0\n") != std::string::npos);
  crop(by_itself, {});
  CHECK(slurp(by_itself + "/config.toml").find("\ncolor-jitter = 0.4\n") != std::string::npos);
  crop(named, {"--color-jitter", "0.4"});
  CHECK(slurp(named + "/" + checkpoint_name(8)) == slurp(by_itself + "/" + checkpoint_name(8)));
  check_mistake({"pretrain", "beit", "--resume", "--color-jitter", "0.2", "--out", by_itself},
                "--color-jitter 0.2 is not the run's own (0.4)");
  crop(without, {"--color-jitter", "0"});
  CHECK(metrics_of(without) != metrics_of(by_itself));

  // Files from before there was jitter do not name it: such a run goes on without.
  const std::string end = slurp(without + "/" + checkpoint_name(8));
  fs::remove(without + "/" + checkpoint_name(8));
  const auto hide = [&](const std::string& file, const std::string& what, const std::string& by) {
    std::string text = slurp(without + file);
    const size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    spill(without + file, text.replace(at, what.size(), by));
  };
  hide("/" + checkpoint_name(4), "color-jitter", "name-unknown");  // as long: nothing else moves
  hide("/config.toml", "color-jitter = 0\n", "");
  REQUIRE(run({"pretrain", "beit", "--resume", "--out", without}).status == 0);
  CHECK(slurp(without + "/" + checkpoint_name(8)) == end);
  const std::string anew = folder.file("anew");
  REQUIRE(run({"pretrain", "beit", "--config", without + "/config.toml", "--out", anew}).status ==
          0);
  CHECK(slurp(anew + "/" + checkpoint_name(8)) == end);
}

TEST_CASE("config.toml of BEiT and of tokenizers makes the same run again") {
  const TempFolder folder;
  const std::string first = folder.file("first"), second = folder.file("second");
  REQUIRE(
      run(tiny_beit(first, 4) + Words{"--mask", "random", "--relative-bias", "per-block"}).status ==
      0);
  const Outcome outcome =
      run({"pretrain", "beit", "--config", first + "/config.toml", "--out", second});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(slurp(first + "/" + checkpoint_name(4)) == slurp(second + "/" + checkpoint_name(4)));
  const std::string third = folder.file("third");
  REQUIRE(run({"tokenizer", "train", "--config", tokenizer() + "/config.toml", "--out", third})
              .status == 0);
  CHECK(slurp(tokenizer() + "/" + checkpoint_name(12)) == slurp(third + "/" + checkpoint_name(12)));
}

TEST_CASE("mistakes about tokenizers, masks and caches are one line") {
  const TempFolder folder;
  const std::string out = folder.file("out");
  const auto beit = [&](const Words& more) { return tiny_beit(out, 4) + more; };
  check_mistake({"pretrain", "beit", "--out", out}, "--tokenizer");
  check_mistake(beit({"--tokenizer", folder.file("none")}), "none");
  check_mistake(beit({"--tokenizer-size", "64"}), "16x16 tokens of it, the model has 8x8 patches");
  check_mistake(beit({"--channels", "1"}), "channels");
  check_mistake(beit({"--mask-ratio", "0.001"}), "at least one must be masked");
  check_mistake(beit({"--mask-ratio", "1"}), "at least one must be masked");
  check_mistake(beit({"--min-block", "40"}), "blocks of at least 40 patches");
  check_mistake(beit({"--min-block", "9", "--max-block", "8"}), "9 to 8");
  check_mistake(beit({"--mask", "holes"}), "holes");
  check_mistake(beit({"--mask-ratio-schedule", "linear"}), "--mask-ratio-end");
  check_mistake(beit({"--mask-ratio-end", "0.5"}), "--mask-ratio-schedule");
  check_mistake(beit({"--relative-bias", "some"}), "some");
  check_mistake(beit({"--augment", "crop-flip", "--token-cache", folder.file("t.safetensors")}),
                "--token-cache");
  check_mistake(beit({"--color-jitter", "0.2", "--token-cache", folder.file("t.safetensors")}),
                "--token-cache: --color-jitter 0.2");
  check_mistake(beit({"--color-jitter", "-0.1"}), "--color-jitter must be in [0, 1]");
  check_mistake(beit({"--color-jitter", "1.5"}), "--color-jitter must be in [0, 1]");
  check_mistake(beit({"--data", "builtin:", "--token-cache", folder.file("t.safetensors")}),
                "--token-cache");
  check_mistake(beit({"--token-cache", folder.file("t.bin")}), ".safetensors");
  check_mistake(tiny_tokenizer(out, 4) + Words{"--arch", "vae"}, "vae");
  check_mistake(tiny_tokenizer(out, 4) + Words{"--image-size", "18"}, "18x18");
  check_mistake(tiny_tokenizer(out, 4) + Words{"--temperature-end", "0"}, "--temperature-end");
  check_mistake(tiny_tokenizer(out, 4) + Words{"--mean", "0.5"}, "--mean");
}

TEST_CASE("a checkpoint of another task is named as such") {
  const TempFolder folder;
  const std::string mae = folder.file("mae");
  REQUIRE(run(tiny_pretrain(mae, 2)).status == 0);
  const std::string other = "it is of the task pretrain-mae, not tokenizer";
  check_mistake(tiny_beit(folder.file("out"), 2) + Words{"--tokenizer", mae}, other);
  check_mistake({"tokenizer", "evaluate", "--checkpoint", mae}, other);
  check_mistake({"reconstruct", "--checkpoint", tokenizer(), "--out", folder.file("x.png")},
                "it is of the task tokenizer, not pretrain-mae");
  fs::remove(mae + "/config.toml");
  check_mistake({"tokenizer", "train", "--resume", "--data", "builtin:", "--out", mae}, other);
}

TEST_CASE("a resumed BEiT wants its own tokenizer and settings") {
  const TempFolder folder;
  const std::string out = folder.file("run"), other = folder.file("other");
  REQUIRE(run(tiny_beit(out, 2)).status == 0);
  REQUIRE(run(tiny_tokenizer(other, 3)).status == 0);
  const Words resume = {"pretrain", "beit", "--resume", "--out", out};
  check_mistake(resume + Words{"--tokenizer", other}, "another one than the run was started with");
  check_mistake(resume + Words{"--mask", "random"}, "--mask random is not the run's own (block)");
  check_mistake(resume + Words{"--relative-bias", "none"}, "--relative-bias");
}

TEST_CASE("on flat pictures and with large blocks no mask stays empty, and the share is logged") {
  const TempFolder folder;
  const std::vector<Words> kinds = {
      {"--image-size", "8x64", "--patch-size", "4"},
      {"--image-size", "16", "--patch-size", "2", "--mask-ratio", "0.9", "--min-block", "49"}};
  for (const Words& kind : kinds) {
    const std::string out = folder.file(kind[1]);
    const Outcome outcome =
        run(tiny_beit(out, 40) + kind + Words{"--batch-size", "1", "--eval-every", "20"});
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    for (const json& record : metrics_of(out)) {
      CHECK(record.at("masked") > 0);
      CHECK(record.at("masked") <= 0.9);
    }
  }
  check_mistake(tiny_beit(folder.file("none"), 2) + kinds[0] + Words{"--min-block", "12"},
                "--min-block can be at most 5");
}

TEST_CASE("who asks a BEiT for pixels is shown where its guesses are") {
  const TempFolder folder;
  const std::string beit = folder.file("beit");
  REQUIRE(run(tiny_beit(beit, 2)).status == 0);
  const std::string way_on = "prediction-*.png in its run's folder";
  check_mistake({"reconstruct", "--checkpoint", beit, "--out", folder.file("x.png")}, way_on);
  check_mistake({"evaluate", "reconstruction", "--checkpoint", beit}, way_on);
}

TEST_CASE("the large BEiT's gradients are clipped at 1, the others' at 3") {
  const TempFolder folder;
  const auto clip_of = [&](const std::string& name, const Words& more) {
    const std::string out = folder.file(name);
    const Outcome outcome = run(tiny_beit(out, 2) + more);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    const std::string config = slurp(out + "/config.toml"), key = "\nclip-grad = ";
    const size_t at = config.find(key) + key.size();
    return config.substr(at, config.find('\n', at) - at);
  };
  CHECK(clip_of("tiny", {}) == "3");
  CHECK(clip_of("large", {"--arch", "vit_large"}) == "1");
  CHECK(clip_of("typed", {"--arch", "vit_large", "--clip-grad", "2"}) == "2");
}

}  // namespace tessera
