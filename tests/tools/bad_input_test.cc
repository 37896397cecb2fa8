// Mistakes as users make them: each gets one line on stderr that names it, nothing on stdout, and
// the exit status 2 (the user's mistake) or 1 (a failure).
#include <zlib.h>

#include <filesystem>

#include "tests/data/encode_jpeg.h"
#include "tests/tools/program.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Mistake {
  Words words;
  std::string named;  // stands in the line
  int status = 2;
};

void check(const Mistake& mistake) { check_mistake(mistake.words, mistake.named, mistake.status); }

Words pretrain(const Words& more) {
  return Words{"pretrain",     "mae", "--arch",  "vit_tiny", "--image-size", "32",
               "--patch-size", "4",   "--depth", "1",        "--batch-size", "4",
               "--max-steps",  "2"} +
         more;
}

std::string big_endian(uint32_t value) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<char>(value >> (24 - 8 * i));
  return bytes;
}

std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size())) + body +
         big_endian(static_cast<uint32_t>(sum));
}

// A PNG whose header promises 60,000 x 60,000 pixels.
std::string enormous_png() {
  const std::string header =
      big_endian(60'000) + big_endian(60'000) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", "x") +
         png_chunk("IEND", "");
}

std::string truncated_jpeg() {
  Image image(64, 64, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 7);
  const std::vector<uint8_t> bytes = encode_jpeg(image);
  return std::string(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() / 20));
}

}  // namespace

TEST_CASE("words and flags that do not exist are named") {
  check({{"frobnicate"}, "frobnicate"});
  check({{}, "demo"});  // wants a command, lists them
  check({{"pretrain"}, "mae"});
  check({{"pretrain", "gan"}, "gan"});
  check({{"--frobnicate"}, "--frobnicate"});
  check({pretrain({"--nonsense"}), "--nonsense"});
  check({{"info", "--nonsense"}, "--nonsense"});
  check({{"evaluate", "reconstruction", "--checkpoint"}, "--checkpoint"});
}

TEST_CASE("values that make no sense are named with their flag") {
  const TempFolder folder;
  const std::string out = folder.file("out");
  const Words to = {"--data", "builtin:", "--out", out};
  check({pretrain({"--data", "builtin:"}), "--out"});
  check({pretrain(to + Words{"--image-size", "33"}), "33"});
  check({pretrain(to + Words{"--image-size", "3x"}), "--image-size 3x"});
  check({pretrain(to + Words{"--mask-ratio", "1.5"}), "1.5"});
  check({pretrain(to + Words{"--batch-size", "-3"}), "--batch-size"});
  check({pretrain(to + Words{"--batch-size", "four"}), "--batch-size"});
  check({pretrain(to + Words{"--epochs", "0.5"}), "--epochs"});
  check({pretrain(to + Words{"--arch", "vit_giant"}), "vit_giant"});
  check({pretrain(to + Words{"--augment", "fog"}), "fog"});
  check({pretrain(to + Words{"--betas", "0.9"}), "--betas"});
  check({pretrain(to + Words{"--betas", "0.9", "1.5"}), "--betas"});
  check({pretrain(to + Words{"--crop-scale", "0.9,0.1"}), "--crop-scale"});
  check({pretrain(to + Words{"--mean", "red"}), "red"});
  check({pretrain(to + Words{"--std", "0", "0", "0"}), "--std"});
  check({pretrain(to + Words{"--mean", "0.1,0.2"}), "--mean"});
  check({pretrain(to + Words{"--base-lr", "nan"}), "--base-lr"});
  check({pretrain(to + Words{"--seed", "-1"}), "--seed"});
  check({pretrain(to + Words{"--dim", "190"}), "190"});
  check({pretrain(to + Words{"--heads", "5"}), "5 heads"});
  check({pretrain(to + Words{"--holdout", "1"}), "--holdout"});
  check({pretrain(to + Words{"--threads", "-2"}), "--threads"});
  check({pretrain(to + Words{"--workers", "-2"}), "--workers"});
  check({pretrain(to + Words{"--decoded-cache", "-1"}), "--decoded-cache"});
  check({pretrain(to + Words{"--decoded-cache", "9999999999999"}), "--decoded-cache"});
  check({pretrain(to + Words{"--keep", "0"}), "--keep"});
  check({pretrain(to + Words{"--checkpoint-every", "-5"}), "--checkpoint-every"});
  check({pretrain(to + Words{"--device", "tpu"}), "tpu"});
  check({pretrain(to + Words{"--config", folder.file("none.toml")}), "none.toml"});
  CHECK(folder.names().empty());  // a refused start leaves nothing behind
}

TEST_CASE("a device that this program was built without is named") {
  const TempFolder folder;
  const Outcome info = run({"info"});
  if (info.out.find("cuda         this build has no cuda backend") == std::string::npos) {
    WARN("skipped: this program has a CUDA backend");
    return;
  }
  check(
      {pretrain({"--data", "builtin:", "--device", "cuda", "--out", folder.file("out")}), "cuda"});
}

TEST_CASE("data that cannot be had are named") {
  const TempFolder folder;
  fs::create_directory(folder.file("empty"));
  const auto folder_with = [&](const std::string& name, const std::string& bytes) {
    const std::string path = folder.file("with-" + name);
    fs::create_directory(path);
    spill(path + "/" + name, bytes);
    return path;
  };
  int runs = 0;
  const auto on = [&](const std::string& data, const Words& more = {}) {
    return pretrain(Words{"--data", data, "--out", folder.file("out-" + std::to_string(++runs))} +
                    more);
  };
  check({on(folder.file("none")), folder.file("none")});
  check({on(folder.file("empty")), folder.file("empty")});
  check({on("builtin:many"), "builtin:many"});
  check({on("builtin:10", {"--batch-size", "64"}), "batch"});
  const Words one = {"--batch-size", "1"};
  check({on(folder_with("a.jpg", "hello\n"), one), "a.jpg"});
  check({on(folder_with("cut.jpg", truncated_jpeg()), one), "cut.jpg"});
  check({on(folder_with("huge.png", enormous_png()), one), "60000"});
}

TEST_CASE("files that are no checkpoints are named") {
  const TempFolder folder;
  spill(folder.file("zero.safetensors"), "");
  spill(folder.file("noise.safetensors"), std::string(1000, '\x7f'));
  fs::create_directory(folder.file("empty"));
  const auto reconstruct = [&](const std::string& checkpoint) {
    return Words{"reconstruct", "--checkpoint", checkpoint, "--out", folder.file("x.png")};
  };
  check({reconstruct(folder.file("none.safetensors")), "none.safetensors"});
  check({reconstruct(folder.file("zero.safetensors")), "zero.safetensors", 1});
  check({reconstruct(folder.file("noise.safetensors")), "noise.safetensors", 1});
  check({reconstruct(folder.file("empty")), folder.file("empty")});
  check({reconstruct("tests/golden/mae_pixels.safetensors"), "mae_pixels.safetensors", 1});
  check({{"reconstruct", "--out", folder.file("x.png")}, "--checkpoint"});
  CHECK(!fs::exists(folder.file("x.png")));
}

TEST_CASE("a checkpoint cut at any length is named and never read past") {
  const TempFolder folder;
  REQUIRE(run(tiny_pretrain(folder.file("run"), 1)).status == 0);
  const std::string whole = slurp(folder.file("run/step-00000001.safetensors"));
  REQUIRE(whole.size() > 1000);
  const std::string cut = folder.file("cut.safetensors");
  std::vector<size_t> lengths = {1, 7, 8, 9, 100, whole.size() - 4, whole.size() - 1};
  for (size_t i = 1; i < 25; ++i) lengths.push_back(i * whole.size() / 25);
  for (const size_t length : lengths) {
    spill(cut, whole.substr(0, length));
    check({{"evaluate", "reconstruction", "--checkpoint", cut}, "cut.safetensors", 1});
  }
  spill(cut, whole + "x");
  check({{"evaluate", "reconstruction", "--checkpoint", cut}, "cut.safetensors", 1});
}

TEST_CASE("a checkpoint of another architecture is refused") {
  const TempFolder folder;
  REQUIRE(run(tiny_pretrain(folder.file("run"), 1)).status == 0);
  for (const Words& command :
       {Words{"reconstruct", "--out", folder.file("x.png")}, Words{"evaluate", "reconstruction"},
        Words{"export", "--out", folder.file("w.safetensors")}, Words{"info"}}) {
    check({command + Words{"--checkpoint", folder.file("run"), "--arch", "vit_small"}, "vit_tiny"});
  }
  CHECK(folder.names() == std::vector<std::string>{"run"});
}

TEST_CASE("no pictures at all are refused, in the same way by every command") {
  for (const Words& command :
       {Words{"evaluate", "reconstruction"}, Words{"evaluate", "classification"},
        Words{"tokenizer", "evaluate"}, Words{"bench", "data"}, Words{"features"}, Words{"predict"},
        Words{"probe"}, Words{"attention"}, Words{"reconstruct"}}) {
    for (const char* wrong : {"0", "-1", "some"}) {
      check({command + Words{"--images", wrong}, "--images: " + std::string(wrong)});
    }
  }
  check({{"probe", "--test-images", "0"}, "--test-images: 0 must be positive"});
  check({{"reconstruct", "--images", "1001"}, "1001 is not in 1..1000"});
}

TEST_CASE("benchmarks of nothing are refused before anything is measured") {
  const TempFolder folder;
  for (const char* command : {"gemm", "ops"}) {
    const Words bench = {"bench", command};
    check({bench + Words{"--precision", "f8"}, "--precision f8"});
    check({bench + Words{"--seconds", "0"}, "--seconds 0"});
    check({bench + Words{"--html", folder.file("none/x.html")}, "none/x.html"});
    check({bench + Words{"--html", folder.path()}, folder.path()});
    check({bench + Words{"--device", "tpu"}, "tpu"});
  }
  check({{"bench"}, "gemm"});  // wants a command, lists them
  check({{"bench", "ops", "--only", "softmax,frobnicate"}, "frobnicate"});
  check({{"bench", "ops", "--batch-size", "0"}, "--batch-size 0"});
  check({{"bench", "gemm", "--arch", "vit_giant"}, "vit_giant"});
  check({{"bench", "gemm", "--arch", "vit_tiny", "--batch-size", "0"}, "--batch-size 0"});
  check({{"bench", "gemm", "--image-size", "32"}, "--arch"});  // of which model?
  check({{"bench", "step", "--steps", "0"}, "--steps"});
  check({{"bench", "step", "--html", folder.file("none/x.html")}, "none/x.html"});
  for (const Words& wrong : {Words{"--workers", "-1"}, Words{"--images", "0"},
                             Words{"--augment", "fog"}, Words{"--decoded-cache", "-3"}}) {
    check({Words{"bench", "data"} + wrong, wrong[0].substr(2)});
  }
  check({{"bench", "data", "--html", folder.file("none/x.html")}, "none/x.html"});
  CHECK(folder.names().empty());
}

TEST_CASE("foreign files that are no model are refused") {
  const TempFolder folder;
  const Words out = {"--out", folder.file("x.safetensors")};
  check({Words{"import"} + out, "file to import"});
  check({Words{"import", folder.file("none.pth")} + out, "none.pth"});
  spill(folder.file("a.pth"), "no model");
  check({Words{"import", folder.file("a.pth")} + out, "a.pth", 1});
  spill(folder.file("a.safetensors"), "no model");
  check({Words{"import", folder.file("a.safetensors")} + out, "a.safetensors", 1});
  check({Words{"import", folder.file("a.pth"), "--out", folder.file("x.pth")}, ".safetensors"});
  check({Words{"import", folder.file("a.pth"), folder.file("a.safetensors"), "--out",
               folder.file("a.safetensors")},
         "one of the files to import"});
  CHECK(folder.names() == std::vector<std::string>{"a.pth", "a.safetensors"});
}

TEST_CASE("curves of what is no run are refused") {
  const TempFolder folder;
  check({{"curves", "--out", folder.file("x.svg")}, "folder of a run"});
  check({{"curves", folder.path(), "--out", folder.file("x.svg")}, "metrics.jsonl"});
  check({{"curves", folder.file("none"), "--out", folder.file("x.svg")}, "none"});
  spill(folder.file("metrics.jsonl"), "{\"step\":1,\"loss\":2}\n");
  check({{"curves", folder.path(), "--out", folder.file("x.png")}, ".svg"});
  check({{"curves", folder.path(), "--out", folder.file("none/x.svg")}, "none/x.svg"});
  check({{"curves", folder.path(), "--figure", "fog", "--out", folder.file("x.svg")}, "loss"});
  CHECK(folder.names() == std::vector<std::string>{"metrics.jsonl"});
}

TEST_CASE("places that cannot be written are named") {
  const TempFolder folder;
  check({pretrain({"--data", "builtin:", "--out", "/proc/nowhere"}), "/proc/nowhere"});
  REQUIRE(run(tiny_pretrain(folder.file("run"), 1)).status == 0);
  check({tiny_pretrain(folder.file("run"), 1), "--resume"});  // holds a run already
  const Words model = {"--checkpoint", folder.file("run")};
  const std::string none = folder.file("none/x");
  check({Words{"reconstruct", "--data", "builtin:1", "--out", none} + model, none});
  check({Words{"export", "--out", none} + model, none, 1});
  check({Words{"export", "--out", folder.file("run/step-00000001.safetensors")} + model, "itself"});
  const Outcome full = run(Words{"evaluate", "reconstruction", "--data", "builtin:1"} + model,
                           {.file_size_limit = 0, .out_file = "/dev/full", .terminal = false});
  CHECK(full.status == 1);
  CHECK(full.error_lines() == 1);
}

}  // namespace tessera
