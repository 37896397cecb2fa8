// From pictures to tokens, as a user types it: tokenizers and the cache of their ids.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/builtin.h"
#include "data/decode.h"
#include "tests/tools/tiny_beit.h"
#include "train/files/png_file.h"

namespace tessera {

namespace fs = std::filesystem;
using nlohmann::json;

TEST_CASE("tokenizer train leaves figures of the codebook and pictures of what tokens keep") {
  const std::vector<json> records = metrics_of(tokenizer());
  REQUIRE(records.size() == 12);
  for (const json& record : records) {
    CHECK(record.at("codes_used") >= 1);
    CHECK(record.at("codes_used") <= 24);
    CHECK(record.at("perplexity") >= 1);
    CHECK(record.at("kl") >= 0);
  }
  CHECK(records[0].at("kl_weight") == 0);
  CHECK(records[11].at("kl_weight") == 1);
  // The temperature falls from 1 to 1/16 over half the run.
  CHECK(records[0].at("temperature") == 1);
  CHECK(records[3].at("temperature") == Approx(0.53125));
  CHECK(records[6].at("temperature") == Approx(0.0625));
  CHECK(records[11].at("temperature") == Approx(0.0625));
  CHECK(records[5].contains("eval_psnr"));
  const Image sheet = read_image(tokenizer() + "/tokens-00000012.png");
  CHECK(sheet.width > sheet.height / 8);
}

TEST_CASE("tokenizer evaluate says what is kept, as a table and as JSON") {
  const TempFolder folder;
  const Words ask = {"tokenizer", "evaluate", "--checkpoint", tokenizer(), "--data", "builtin:20"};
  const Outcome text = run(ask + Words{"--out", folder.file("tokens.png")});
  INFO(text.err);
  REQUIRE(text.status == 0);
  CHECK(text.out.find("of 24 tokens in use") != std::string::npos);
  CHECK(fs::exists(folder.file("tokens.png")));
  const Outcome line = run(ask + Words{"--json"});
  const json scores = json::parse(line.out);
  CHECK(scores.at("images") == 20);
  CHECK(scores.at("psnr") > 0);
  CHECK(scores.at("mae") > 0);
  CHECK(scores.at("codes_used") <= 24);
}

TEST_CASE("a tokenizer's training stops and goes on to the same bytes") {
  check_resume(
      [](const std::string& out) {
        return tiny_tokenizer(out, 200) + Words{"--kl-weight", "0", "--straight-through"};
      },
      {"tokenizer", "train"}, 200);
  check_resume(
      [](const std::string& out) {
        return Words{"tokenizer",
                     "train",
                     "--arch",
                     "dalle",
                     "--image-size",
                     "16",
                     "--vocab",
                     "16",
                     "--width",
                     "8",
                     "--decoder-width",
                     "8",
                     "--blocks-per-group",
                     "1",
                     "--batch-size",
                     "4",
                     "--max-steps",
                     "100",
                     "--eval-every",
                     "0",
                     "--out",
                     out};
      },
      {"tokenizer", "train"}, 100);
}

TEST_CASE("cached token ids give the same BEiT, and are made anew when they are damaged") {
  const TempFolder folder;
  const std::string cache = folder.file("tokens.safetensors");
  const std::string plain = folder.file("plain"), cached = folder.file("cached");
  REQUIRE(run(tiny_beit(plain, 20)).status == 0);
  const Outcome first = run(tiny_beit(cached, 20) + Words{"--token-cache", cache});
  INFO(first.err);
  REQUIRE(first.status == 0);
  CHECK(first.err.find("token ids of 40 pictures kept") != std::string::npos);
  CHECK(slurp(plain + "/" + checkpoint_name(20)) == slurp(cached + "/" + checkpoint_name(20)));

  const std::string again = folder.file("again"), whole = slurp(cache);
  const Outcome second = run(tiny_beit(again, 20) + Words{"--token-cache", cache});
  CHECK(second.err.find("token ids from") != std::string::npos);
  CHECK(slurp(plain + "/" + checkpoint_name(20)) == slurp(again + "/" + checkpoint_name(20)));

  spill(cache, whole.substr(0, whole.size() / 2));
  const std::string repaired = folder.file("repaired");
  const Outcome third = run(tiny_beit(repaired, 20) + Words{"--token-cache", cache});
  CHECK(third.err.find("is damaged and is made anew") != std::string::npos);
  CHECK(slurp(cache) == whole);
  CHECK(slurp(plain + "/" + checkpoint_name(20)) == slurp(repaired + "/" + checkpoint_name(20)));
}

TEST_CASE("token ids of other pictures under the same names are made anew") {
  const TempFolder folder;
  const std::string cache = folder.file("tokens.safetensors");
  const auto said = [&](const std::string& name, const Words& more) {
    const Outcome outcome =
        run(tiny_beit(folder.file(name), 2) + more + Words{"--token-cache", cache});
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    return outcome.err;
  };
  const std::string anew = "is of other pictures and is made anew";
  // Drawn pictures: the tokenizer sees 32 x 32 of both, the second are drawn larger.
  said("small", {});
  const Words larger = {"--image-size", "32", "--patch-size", "4"};
  CHECK(said("large", larger).find(anew) != std::string::npos);
  CHECK(said("large again", larger).find("token ids from") != std::string::npos);

  const std::string pictures = folder.file("pictures");
  fs::create_directory(pictures);
  const auto write = [&](int first) {
    const BuiltinDataset drawn(40, false, PictureStream::kTraining, 24, 24);
    for (int i = 0; i < 8; ++i) {
      write_png(fmt::format("{}/{}.png", pictures, i), drawn.picture(first + i));
    }
  };
  const Words photos = {"--data", pictures, "--batch-size", "4"};
  write(0);
  CHECK(said("photos", photos).find(anew) != std::string::npos);
  CHECK(said("the same photos", photos).find("token ids from") != std::string::npos);
  write(20);
  CHECK(said("other photos", photos).find(anew) != std::string::npos);
  // The run's own pictures are known by their names: it goes on.
  const Outcome resumed = run({"pretrain", "beit", "--resume", "--out", folder.file("photos")});
  INFO(resumed.err);
  CHECK(resumed.status == 0);
}

TEST_CASE("a codebook that collapses is said without an evaluation, when it does and at the end") {
  const TempFolder folder;
  const auto count = [](const std::string& text, const std::string& part) {
    int found = 0;
    for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  // Far too large a step breaks it at once. Without KL term nothing brings it back.
  const Words broken = {"--kl-weight",    "0", "--base-lr",    "20",
                        "--warmup-steps", "0", "--eval-every", "0"};
  const Outcome outcome = run(tiny_tokenizer(folder.file("broken"), 130) + broken);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  const std::string warning = "warning: the codebook has collapsed";
  CHECK(count(outcome.err, warning) == 2);
  CHECK(outcome.err.find("step 100: " + warning) != std::string::npos);
  CHECK(outcome.err.find("step 130: " + warning) != std::string::npos);
}

}  // namespace tessera
