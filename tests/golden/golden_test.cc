// The golden runner on its own folder and default_device(), and on folders that are wrong in every
// way a folder can be.
#include "tests/golden/golden.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "engine/backend.h"

namespace tessera::golden {
namespace {

namespace fs = std::filesystem;

const fs::path kData = "tests/golden";

struct Result {
  int status;
  std::string text;
  std::string last_line() const {
    const std::string trimmed = text.substr(0, text.size() - 1);
    return trimmed.substr(trimmed.rfind('\n') + 1);
  }
};

Result run(const fs::path& folder) {
  std::ostringstream out;
  const int status = run_folder(folder.string(), default_device(), out);
  return {status, out.str()};
}

// An empty folder of this test's own.
fs::path fresh_folder(const std::string& name) {
  const char* base = std::getenv("TEST_TMPDIR");
  const fs::path folder =
      fs::path(base != nullptr ? base : fs::temp_directory_path()) / ("golden_test_" + name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

void take(const std::string& name, const fs::path& folder, const std::string& as = "") {
  fs::copy_file(fs::canonical(kData / name), folder / (as.empty() ? name : as));
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& bytes) {
  fs::remove(path);  // copies of read-only files are read-only
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST_CASE("the numbers of the official implementations") {
  const Result result = run(kData);
  INFO(result.text);
  CHECK(result.status == 0);
  CHECK(result.text.find("ops.safetensors: 150 of 150 agree") != std::string::npos);
  for (const char* name :
       {"beit_abs_pos", "beit_classifier", "beit_shared_rel_pos", "block_mask_statistics",
        "dalle_encoder", "dvae", "mae_normpix", "mae_pixels", "transforms"}) {
    INFO(name);
    CHECK(result.text.find(std::string(name) + ".") != std::string::npos);
  }
  CHECK(result.text.find("skipped") == std::string::npos);
  CHECK(result.last_line().ends_with(" passed, 0 failed"));
}

TEST_CASE("other names of files are recognised by what they hold") {
  const fs::path folder = fresh_folder("names");
  take("mae_pixels.safetensors", folder, "mae_foo.safetensors");
  take("ops.safetensors", folder, "other.safetensors");
  take("ops.json", folder, "other.json");
  write(folder / "notes.txt", "not a case");
  const Result result = run(folder);
  INFO(result.text);
  CHECK(result.status == 0);
  CHECK(result.text.find("other.safetensors: 150 of 150 agree") != std::string::npos);
  CHECK(result.text.find("mae_foo.safetensors: ") != std::string::npos);
  CHECK(result.text.find("notes") == std::string::npos);
  CHECK(result.text.find("skipped") == std::string::npos);
}

TEST_CASE("a number that is off by a millionth fails, and only it") {
  const fs::path folder = fresh_folder("off");
  take("ops.safetensors", folder);
  take("ops.json", folder);
  const std::string path = (folder / "ops.safetensors").string();
  std::string bytes = bytes_of(path);
  const SafetensorsReader reader(path);
  for (const char* name : {"088_matmul/out0", "119_layer_norm/grad/w"}) {
    double value;
    char* at = bytes.data() + reader.at(name).offset;
    std::memcpy(&value, at, sizeof value);
    value += 1e-6;
    std::memcpy(at, &value, sizeof value);
  }
  write(path, bytes);
  const Result result = run(folder);
  CHECK(result.status == 1);
  CHECK(result.text.find("FAILED ops.safetensors 088_matmul: the result") != std::string::npos);
  CHECK(result.text.find("FAILED ops.safetensors 119_layer_norm: the gradient of w") !=
        std::string::npos);
  CHECK(result.last_line() == "148 passed, 2 failed");
}

TEST_CASE("masks that fall otherwise than the reference's are seen") {
  const fs::path folder = fresh_folder("masks");
  const std::string all = bytes_of(kData / "block_mask_statistics.json");
  const std::string key = "\"min_num_patches\": 16";
  const size_t at = all.find(key);
  REQUIRE(at != std::string::npos);
  // Smaller blocks for the first row: its numbers of neighbours that agree cannot be met.
  write(folder / "block_mask_statistics.json",
        std::string(all).replace(at, key.size(), "\"min_num_patches\": 4"));
  const Result result = run(folder);
  INFO(result.text);
  CHECK(result.status == 1);
  CHECK(result.text.find("row 0 horizontal_neighbour_agreement: is 0.86") != std::string::npos);
  CHECK(result.text.find("row 1") == std::string::npos);
}

TEST_CASE("unknown kinds are named, empty statistics fail") {
  const fs::path folder = fresh_folder("unknown");
  const float one = 1;
  const SafetensorsTensor tensor{"weights/a", DType::kF32, {1}, &one};
  write_safetensors((folder / "novel.safetensors").string(), {&tensor, 1}, {{"model", "novel"}});
  write_safetensors((folder / "plain.safetensors").string(), {&tensor, 1}, {});
  write(folder / "block_mask_statistics.json", "{}");
  const Result result = run(folder);
  CHECK(result.status == 1);
  CHECK(result.text.find("novel.safetensors: skipped") != std::string::npos);
  CHECK(result.text.find("plain.safetensors: skipped") != std::string::npos);
  CHECK(result.text.find("FAILED block_mask_statistics.json: ") != std::string::npos);
  CHECK(result.last_line() == "0 passed, 1 failed");
}

TEST_CASE("broken folders and files are one clear line") {
  const fs::path folder = fresh_folder("broken");
  CHECK_THROWS_WITH(run(folder / "missing"), Catch::Contains("missing is no folder"));
  CHECK_THROWS_WITH(run(folder), Catch::Contains("holds no golden file"));

  take("ops.safetensors", folder);  // without its list
  take("mae_pixels.safetensors", folder);
  const std::string whole = bytes_of(folder / "mae_pixels.safetensors");
  for (const size_t size : {size_t{0}, size_t{5}, size_t{1000}, whole.size() - 1}) {
    write(folder / "mae_pixels.safetensors", whole.substr(0, size));
    const Result result = run(folder);
    INFO(result.text);
    CHECK(result.status == 1);
    CHECK(result.text.find("FAILED ops.safetensors: its list of cases") != std::string::npos);
    CHECK(result.text.find("FAILED mae_pixels.safetensors: ") != std::string::npos);
    CHECK(result.last_line() == "0 passed, 2 failed");
  }
  write(folder / "ops.json", "[{\"case\": ");
  CHECK(run(folder).last_line() == "0 passed, 2 failed");
}

TEST_CASE("the command line counts from where the user typed it") {
  const auto program = [](std::vector<std::string> words) {
    words.insert(words.begin(), "golden");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    std::ostringstream unread;
    std::streambuf* const out = std::cout.rdbuf(unread.rdbuf());
    std::streambuf* const err = std::cerr.rdbuf(unread.rdbuf());
    const int status = golden::main(static_cast<int>(argv.size()), argv.data());
    std::cout.rdbuf(out);
    std::cerr.rdbuf(err);
    return status;
  };
  const fs::path folder = fresh_folder("typed");
  fs::create_directories(folder / "numbers");
  take("transforms.safetensors", folder / "numbers");
  take("transforms.json", folder / "numbers");
  CHECK(program({"numbers"}) == 2);
  ::setenv("BUILD_WORKING_DIRECTORY", folder.c_str(), 1);
  CHECK(program({"numbers"}) == 0);
  CHECK(program({(folder / "numbers").string(), "--device", "cpu"}) == 0);
  ::unsetenv("BUILD_WORKING_DIRECTORY");
  CHECK(program({}) == 2);
  CHECK(program({"a", "b"}) == 2);
  CHECK(program({"numbers", "--device", "abacus"}) == 2);
  CHECK(program({"--nonsense"}) == 2);
}

}  // namespace
}  // namespace tessera::golden
