// The safetensors reader believes nothing, the writer's bytes are a function of what is written.
#include "train/files/safetensors.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <numeric>

#include "tests/train/temp_folder.h"
#include "train/files/safetensors_header.h"
#include "train/system.h"

namespace tessera {
namespace {

using Catch::Contains;

// A file from its parts: header text as it is, then `data` bytes of zeros.
std::string raw_file(std::string_view header, size_t data) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  return bytes.append(header).append(data, '\0');
}

std::string entry(std::string_view dtype, std::string_view shape, uint64_t begin, uint64_t end) {
  return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", dtype, shape, begin,
                     end);
}

struct Sample {
  std::array<float, 6> weights = {1, -2, 3.5f, 0, 1e-30f, 6};
  std::array<double, 2> moments = {0.1, 1e300};
  std::array<uint8_t, 3> bytes = {0, 7, 255};
  std::array<bool, 2> flags = {true, false};
  std::array<int64_t, 1> count = {-5};
  std::array<uint16_t, 4> halves = {0x3c00, 0x7c00, 1, 0xffff};

  std::vector<SafetensorsTensor> tensors() const {
    return {{"w", DType::kF32, {2, 3}, weights.data()},
            {"bytes", DType::kU8, {3}, bytes.data()},
            {"m", DType::kF64, {2}, moments.data()},
            {"flags", DType::kBool, {1, 2}, flags.data()},
            {"count", DType::kI64, {}, count.data()},
            {"half", DType::kF16, {4}, halves.data()},
            {"brain", DType::kBF16, {2, 2}, halves.data()},
            {"empty", DType::kI32, {0, 4}, nullptr}};
  }
};

template <class T>
std::vector<T> values(const SafetensorsReader& file, std::string_view name) {
  const SafetensorsEntry& found = file.at(name);
  std::vector<T> out(found.bytes / sizeof(T));
  file.read(found, std::as_writable_bytes(std::span(out)));
  return out;
}

TEST_CASE("what is written is read back, whatever the dtype") {
  const TempFolder folder;
  const Sample sample;
  const std::string path = folder.file("a.safetensors");
  write_safetensors(path, sample.tensors(), {{"step", "12"}, {"recipe", R"({"a":"b\n"})"}});

  const SafetensorsReader file(path);
  CHECK(file.metadata() == Metadata{{"step", "12"}, {"recipe", R"({"a":"b\n"})"}});
  REQUIRE(file.entries().size() == 8);
  CHECK(file.at("w").shape == Shape{2, 3});
  CHECK(file.at("count").shape == Shape{});
  CHECK(file.at("empty").bytes == 0);
  CHECK(file.at("brain").dtype == DType::kBF16);
  CHECK(values<float>(file, "w") ==
        std::vector<float>(sample.weights.begin(), sample.weights.end()));
  CHECK(values<double>(file, "m") == std::vector<double>{0.1, 1e300});
  CHECK(values<int64_t>(file, "count") == std::vector<int64_t>{-5});
  CHECK(values<uint8_t>(file, "flags") == std::vector<uint8_t>{1, 0});
  CHECK(values<uint16_t>(file, "half") == std::vector<uint16_t>{0x3c00, 0x7c00, 1, 0xffff});
  CHECK(values<uint16_t>(file, "brain") == values<uint16_t>(file, "half"));
  for (const SafetensorsEntry& one : file.entries()) {
    CHECK(one.offset % size_of(one.dtype) == 0);
  }
  CHECK(file.find("nobody") == nullptr);
  CHECK_THAT(error_of([&] { file.at("nobody"); }), Contains("a.safetensors") && Contains("nobody"));
  std::array<std::byte, 3> small;
  CHECK_THAT(error_of([&] { file.read(file.at("w"), small); }), Contains("24") && Contains("3"));
}

TEST_CASE("the bytes do not depend on the order of the tensors and are the documented ones") {
  const TempFolder folder;
  const Sample sample;
  std::vector<SafetensorsTensor> tensors = sample.tensors();
  write_safetensors(folder.file("a"), tensors, {{"k", "v"}});
  std::reverse(tensors.begin(), tensors.end());
  write_safetensors(folder.file("b"), tensors, {{"k", "v"}});
  CHECK(slurp(folder.file("a")) == slurp(folder.file("b")));

  const std::array<uint8_t, 2> two = {1, 2};
  const std::vector<SafetensorsTensor> one = {{"x\"y", DType::kU8, {2}, two.data()}};
  write_safetensors(folder.file("c"), one, {});
  std::string header = R"({"x\"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string expected = raw_file(header, 0) + "\x01\x02";
  CHECK(slurp(folder.file("c")) == expected);
}

TEST_CASE("more tensors than one system call takes") {
  const TempFolder folder;
  std::vector<int32_t> numbers(3000);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::vector<SafetensorsTensor> tensors;
  for (int i = 0; i < 3000; ++i) {
    tensors.push_back({fmt::format("t{}", i), DType::kI32, {1}, &numbers[static_cast<size_t>(i)]});
  }
  write_safetensors(folder.file("many"), tensors, {});
  const SafetensorsReader file(folder.file("many"));
  for (int i = 0; i < 3000; ++i) {
    REQUIRE(values<int32_t>(file, fmt::format("t{}", i)) == std::vector<int32_t>{i});
  }
}

TEST_CASE("tensors that cannot be written are refused and leave nothing behind") {
  const TempFolder folder;
  const float x = 1;
  const auto refused = [&](std::vector<SafetensorsTensor> tensors, Metadata metadata = {}) {
    return error_of([&] { write_safetensors(folder.file("a"), tensors, metadata); });
  };
  const SafetensorsTensor good = {"a", DType::kF32, {1}, &x};
  CHECK_THAT(refused({good, good}), Contains("\"a\""));
  CHECK_THAT(refused({{"__metadata__", DType::kF32, {1}, &x}}), Contains("__metadata__"));
  CHECK_THAT(refused({{"\xff", DType::kF32, {1}, &x}}), Contains("UTF-8"));
  CHECK_THAT(refused({good}, {{"k", "\xc3"}}), Contains("UTF-8"));
  CHECK(folder.names().empty());
}

TEST_CASE("a file cut at any length is refused by name") {
  const TempFolder folder;
  const Sample sample;
  write_safetensors(folder.file("whole"), sample.tensors(), {{"step", "1"}});
  const std::string whole = slurp(folder.file("whole"));
  const std::string path = folder.file("cut.safetensors");
  for (size_t length = 0; length < whole.size(); ++length) {
    spill(path, std::string_view(whole).substr(0, length));
    CAPTURE(length);
    REQUIRE_THAT(error_of([&] { SafetensorsReader reader(path); }), Contains("cut.safetensors"));
  }
  spill(path, whole + '\0');
  CHECK_THAT(error_of([&] { SafetensorsReader reader(path); }), Contains("the file holds"));
}

TEST_CASE("a flipped bit in the header is refused, or read without harm") {
  const TempFolder folder;
  const Sample sample;
  write_safetensors(folder.file("whole"), sample.tensors(), {{"step", "1"}});
  const std::string whole = slurp(folder.file("whole"));
  uint64_t header = 0;
  std::memcpy(&header, whole.data(), sizeof(header));
  const std::string path = folder.file("flipped.safetensors");
  int refused = 0, read = 0;
  for (size_t bit = 0; bit < 8 * (8 + header); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    spill(path, bytes);
    try {
      const SafetensorsReader reader(path);
      // Only a name, a dtype of the same size, a blank or the metadata can have changed; sizes
      // still agree, so every tensor can be read.
      uint64_t total = 0;
      for (const SafetensorsEntry& one : reader.entries()) {
        total += one.bytes;
        std::vector<std::byte> out(one.bytes);
        try {
          reader.read(one, out);
        } catch (const Error& error) {
          REQUIRE_THAT(error.what(), Contains("BOOL"));
        }
      }
      REQUIRE(total == whole.size() - 8 - header);
      ++read;
    } catch (const Error& error) {
      REQUIRE_THAT(error.what(), Contains("flipped.safetensors"));
      ++refused;
    }
  }
  CHECK(refused > 10 * read / 4);  // names, metadata and padding are a good part of this header
  CHECK(read > 0);
}

TEST_CASE("headers that lie") {
  const std::string f32 = entry("F32", "[2]", 0, 8);
  const auto refused = [](std::string_view header, uint64_t data) {
    return error_of([&] { parse_safetensors_header(header, data); });
  };
  CHECK(parse_safetensors_header("{}", 0).entries.empty());
  CHECK(parse_safetensors_header("{\"a\":" + f32 + "}   ", 8).entries.size() == 1);

  CHECK_THAT(refused("", 0), Contains("begin"));
  CHECK_THAT(refused("[]", 0), Contains("begin"));
  CHECK_THAT(refused(" {}", 0), Contains("begin"));
  CHECK_THAT(refused("{", 0), Contains("not JSON"));
  CHECK_THAT(refused("{} {}", 0), Contains("not JSON"));
  CHECK_THAT(refused(std::string_view("{}\0x", 4), 0), Contains("zero byte"));
  CHECK_THAT(refused("{\"a\xff\":" + f32 + "}", 8), Contains("not JSON"));
  CHECK_THAT(refused("{\"a\":" + f32 + ",\"a\":" + f32 + "}", 8), Contains("twice"));
  CHECK_THAT(refused("{\"a\":1}", 8), Contains("a number") && Contains("\"a\""));
  CHECK_THAT(refused("{\"a\":[]}", 8), Contains("a list"));
  CHECK_THAT(refused("{\"a\":{}}", 8), Contains("lacks"));
  CHECK_THAT(refused("{\"__metadata__\":{\"a\":1}}", 0), Contains("a number"));
  CHECK_THAT(refused("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0), Contains("twice"));
  CHECK_THAT(refused("{\"__metadata__\":{\"a\":{}}}", 0), Contains("an object"));
  CHECK_THAT(refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", 4),
             Contains("a list"));
  CHECK_THAT(refused("{\"a\":{\"dtype\":\"F32\",\"more\":1}}", 4), Contains("more"));
  CHECK_THAT(refused("{\"a\":" + entry("F31", "[2]", 0, 8) + "}", 8), Contains("F31"));
  CHECK_THAT(refused("{\"a\":" + entry("f32", "[2]", 0, 8) + "}", 8), Contains("f32"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[-2]", 0, 8) + "}", 8), Contains("negative"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[2.0]", 0, 8) + "}", 8), Contains("fraction"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[null]", 0, 8) + "}", 8), Contains("null"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[3]", 0, 8) + "}", 8),
             Contains("12") && Contains("8"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[2]", 8, 0) + "}", 8), Contains("offsets"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[2]", 8, 16) + "}", 16), Contains("begins"));
  CHECK_THAT(refused("{\"a\":" + f32 + ",\"b\":" + entry("F32", "[2]", 12, 20) + "}", 20),
             Contains("\"b\"") && Contains("begins"));
  CHECK_THAT(refused("{\"a\":" + f32 + ",\"b\":" + entry("F32", "[2]", 4, 12) + "}", 12),
             Contains("\"b\"") && Contains("begins"));
  CHECK_THAT(refused("{\"a\":" + f32 + "}", 7), Contains("cut short"));
  CHECK_THAT(refused("{\"a\":" + f32 + "}", 9), Contains("holds 9"));
  CHECK_THAT(refused("{\"a\":" + entry("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) + "}", 4),
             Contains("dimensions"));
  const char* huge[] = {"[9223372036854775807,3]", "[4611686018427387904,4]",
                        "[9223372036854775807]", "[18446744073709551615]",
                        "[99999999999999999999999]"};
  for (const char* shape : huge) {
    CAPTURE(shape);
    error_of([&] { parse_safetensors_header("{\"a\":" + entry("F64", shape, 0, 8) + "}", 8); });
  }
  // Offsets whose sum wraps round, and a name that would break the line or fill the screen.
  CHECK_THAT(refused("{\"a\":" + entry("U8", "[1]", 18446744073709551615u, 0) + "}", 8),
             Contains("offsets"));
  CHECK_THAT(refused("{\"a\\nb\":1}", 0), Contains("\"a\\nb\""));
  CHECK(refused("{\"" + std::string(5000, 'x') + "\":1}", 0).size() < 300);
}

TEST_CASE("a header may not claim more memory than its file has bytes") {
  const TempFolder folder;
  const std::string path = folder.file("liar.safetensors");
  for (const uint64_t claim : {uint64_t{1} << 63, uint64_t{200'000'000}, uint64_t{90'000'000}}) {
    spill(path, std::string(reinterpret_cast<const char*>(&claim), 8) + "{}");
    CHECK_THAT(
        error_of([&] { SafetensorsReader reader(path); }),
        Contains("liar.safetensors") && Contains(std::to_string(claim + (claim < 1e8 ? 8 : 0))));
  }
  // Ten million nested or repeated values: refused at the first, not stored.
  const int64_t before = peak_memory_bytes();
  const std::string deep = "{\"a\":" + std::string(10'000'000, '[');
  error_of([&] { parse_safetensors_header(deep, 0); });
  std::string wide = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1";
  for (int i = 0; i < 5'000'000; ++i) wide += ",1";
  error_of([&] { parse_safetensors_header(wide, 0); });
  CHECK(peak_memory_bytes() - before < 100 << 20);
}

TEST_CASE("what is no file at all") {
  const TempFolder folder;
  CHECK_THROWS_AS(SafetensorsReader(folder.file("none.safetensors")), UsageError);
  CHECK_THAT(error_of([&] { SafetensorsReader reader(folder.file("none.safetensors")); }),
             Contains("none.safetensors: No such file"));
  CHECK_THAT(error_of([&] { SafetensorsReader reader(folder.path()); }), Contains("regular file"));
  REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK_THAT(error_of([&] { SafetensorsReader reader(folder.file("pipe")); }),
             Contains("regular file"));
  spill(folder.file("zero"), "");
  CHECK_THAT(error_of([&] { SafetensorsReader reader(folder.file("zero")); }), Contains("0 bytes"));
}

TEST_CASE("a bool that is neither 0 nor 1 is refused when it is read") {
  const TempFolder folder;
  std::string bytes = raw_file("{\"a\":" + entry("BOOL", "[2]", 0, 2) + "}", 2);
  bytes.back() = 2;
  spill(folder.file("a"), bytes);
  const SafetensorsReader file(folder.file("a"));
  std::array<std::byte, 2> out;
  CHECK_THAT(error_of([&] { file.read(file.at("a"), out); }), Contains("BOOL"));
}

TEST_CASE("a file that shrinks under the reader is an error and no crash") {
  const TempFolder folder;
  spill(folder.file("a"), raw_file("{\"a\":" + entry("U8", "[4096]", 0, 4096) + "}", 4096));
  const SafetensorsReader file(folder.file("a"));
  std::filesystem::resize_file(folder.file("a"), 1000);
  std::vector<std::byte> out(4096);
  CHECK_THAT(error_of([&] { file.read(file.at("a"), out); }), Contains("shorter"));
}

}  // namespace
}  // namespace tessera
