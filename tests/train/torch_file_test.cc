// Files of torch.save(), of both containers and several protocols, read back value by value; what
// is broken or hostile is refused. The files are written by torch_files/make.py.
#include "train/files/torch_file.h"

#include <fmt/ranges.h>

#include <tuple>

#include "engine/raw.h"
#include "tests/train/temp_folder.h"
#include "train/files/pickle.h"

namespace tessera {
namespace {

using Catch::Contains;
using namespace std::string_literals;
using namespace std::string_view_literals;

const std::string kFiles = "tests/train/torch_files/";

// What make.py puts into the tensor of that name.
double pattern(const std::string& name, int64_t i) {
  return static_cast<double>((7 * i + std::ssize(name)) % 13 - 6) / 8;
}

std::vector<double> values(const Tensor& t) {
  const Tensor wide = raw::to(t, DType::kF64);
  const auto* data = static_cast<const double*>(wide.view().data);
  return {data, data + wide.numel()};
}

void check_pattern(const std::map<std::string, Tensor>& tensors, const std::string& name) {
  INFO(name);
  REQUIRE(tensors.contains(name));
  const std::vector<double> found = values(tensors.at(name));
  for (size_t i = 0; i < found.size(); ++i) REQUIRE(found[i] == pattern(name, int64_t(i)));
}

TEST_CASE("tensors of every dtype and layout come back under their names") {
  for (const char* file : {"mixed_2.pth", "mixed_4.pth", "mixed_old.pth"}) {
    INFO(file);
    const auto tensors = read_torch_file(kFiles + file);
    REQUIRE(tensors.size() == 9);
    for (const char* name : {"half", "bfloat", "double", "whole"}) check_pattern(tensors, name);
    CHECK(tensors.at("half").dtype() == DType::kF16);
    CHECK(tensors.at("bfloat").dtype() == DType::kBF16);
    CHECK(tensors.at("double").dtype() == DType::kF64);
    CHECK(tensors.at("number").dtype() == DType::kI64);
    CHECK(tensors.at("number").ndim() == 0);
    CHECK(values(tensors.at("number")) == std::vector<double>{7});
    CHECK(values(tensors.at("buffer.flags")) == std::vector<double>{1, 0});
    CHECK(tensors.at("empty").shape() == Shape{0, 3});
    // (3, 2) turned to (2, 3): the strides are the storage's.
    const std::vector<double> turned = values(tensors.at("turned"));
    REQUIRE(tensors.at("turned").shape() == Shape{2, 3});
    for (int64_t row = 0; row < 2; ++row) {
      for (int64_t column = 0; column < 3; ++column) {
        CHECK(turned[size_t(row * 3 + column)] == pattern("turned", column * 2 + row));
      }
    }
    // Rows 1 and 2, columns 2 to 4 of "whole" (4, 6), whose storage it shares.
    const std::vector<double> piece = values(tensors.at("piece"));
    REQUIRE(piece.size() == 6);
    for (int64_t i = 0; i < 6; ++i) {
      CHECK(piece[size_t(i)] == pattern("whole", (1 + i / 3) * 6 + 2 + i % 3));
    }
  }
}

TEST_CASE("a whole module gives its state dict, its classes unknown") {
  for (const char* file : {"encoder.pkl", "decoder.pkl"}) {  // the zip form and the older one
    INFO(file);
    const auto tensors = read_torch_file(kFiles + file);
    CHECK(tensors.size() > 40);
    CHECK(tensors.contains("blocks.group_4.block_1.res_path.conv_3.b"));
    for (const auto& [name, tensor] : tensors) check_pattern(tensors, name);
  }
}

TEST_CASE("what is broken is one line that names the file") {
  const TempFolder folder;
  const std::string path = folder.file("x.pth");
  CHECK_THAT(error_of([&] { read_torch_file(path); }), Contains("x.pth"));
  spill(path, "not a model");
  CHECK_THAT(error_of([&] { read_torch_file(path); }), Contains("x.pth: not written by torch"));
  for (const char* file : {"mixed_2.pth", "mixed_old.pth"}) {
    const std::string whole = slurp(kFiles + file);
    // The last two bytes of an archive are the length of a comment: they hold nothing.
    for (size_t cut = 20; cut < whole.size() - 2; cut += whole.size() / 23) {
      INFO(file << " cut at " << cut);
      spill(path, std::string_view(whole).substr(0, cut));
      CHECK_THAT(error_of([&] { read_torch_file(path); }), Contains("x.pth: "));
    }
  }
  // A changed byte of the data: the archive's check sum tells.
  std::string changed = slurp(kFiles + "mixed_2.pth");
  const float first = static_cast<float>(pattern("whole", 0)), second = float(pattern("whole", 1));
  std::string stored(8, '\0');
  std::memcpy(stored.data(), &first, 4);
  std::memcpy(stored.data() + 4, &second, 4);
  const size_t at = changed.find(stored);
  REQUIRE(at != changed.npos);
  changed[at + 2] = static_cast<char>(changed[at + 2] ^ 1);
  spill(path, changed);
  CHECK_THAT(error_of([&] { read_torch_file(path); }), Contains("damaged"));
}

// A pickle of the given instructions.
std::string pickle(std::string_view body) { return "\x80\x02" + std::string(body) + "."; }

template <class T>
std::string bytes_of(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
std::string integer(int64_t value) { return "\x8a\x08" + bytes_of(value); }
std::string text(const std::string& text) {
  return "X" + bytes_of(static_cast<uint32_t>(text.size())) + text;
}

// A file of the older form with one tensor "w" on the storage `elements`.
std::string old_file(const std::string& type, int64_t offset, const std::string& sizes,
                     const std::string& strides, int64_t count, const std::string& elements) {
  const std::string storage = "(" + text("storage") + "ctorch\n" + type + "Storage\n" + text("0") +
                              text("cpu") + integer(count) + "tQ";
  const std::string tensor =
      "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + sizes + strides + "tR";
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + pickle("M\xe9\x03") +
         pickle("}") + pickle("}" + text("w") + tensor + "s") + pickle("]" + text("0") + "a") +
         bytes_of(count) + elements;
}

TEST_CASE("a tensor that leaves its storage is refused, however its numbers overflow") {
  const TempFolder folder;
  const std::string path = folder.file("x.pth");
  std::string elements;
  for (int i = 0; i < 12; ++i) elements += bytes_of(float(i));
  const auto read = [&](int64_t offset, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
    const auto tuple = [](const std::vector<int64_t>& values) {
      std::string all = "(";
      for (const int64_t v : values) all += integer(v);
      return all + "t";
    };
    spill(path, old_file("Float", offset, tuple(sizes), tuple(strides), 12, elements));
    return read_torch_file(path);
  };
  CHECK(values(read(1, {2, 3}, {4, 1}).at("w")) == std::vector<double>{1, 2, 3, 5, 6, 7});
  CHECK(values(read(11, {1}, {INT64_MAX}).at("w")) == std::vector<double>{11});
  const int64_t huge = INT64_MAX;
  const std::tuple<int64_t, std::vector<int64_t>, std::vector<int64_t>> hostile[] = {
      {12, {1}, {1}},
      {10, {3}, {1}},
      {0, {3, 5}, {5, 1}},
      {huge, {1}, {1}},
      {huge - (1 << 23) + 1, {12}, {1 << 20}},
      {0, {2, 2}, {huge, 1}},
      {1, {2}, {huge}},
      {0, {int64_t{1} << 32, int64_t{1} << 32}, {1, 1}},
      {0, {13}, {0}}};
  for (const auto& [offset, sizes, strides] : hostile) {
    INFO(offset << " " << fmt::format("{} {}", fmt::join(sizes, ","), fmt::join(strides, ",")));
    CHECK_THAT(error_of([&] { read(offset, sizes, strides); }),
               Contains("larger than its storage"));
  }
}

TEST_CASE("a truth value is 0 or 1") {
  const TempFolder folder;
  const std::string path = folder.file("x.pth");
  const auto spill_flags = [&](const std::string& flags) {
    spill(path, old_file("Bool", 0, "(" + integer(2) + "t", "(" + integer(1) + "t", 2, flags));
  };
  spill_flags("\x01\x00"s);
  CHECK(values(read_torch_file(path).at("w")) == std::vector<double>{1, 0});
  spill_flags("\x01\x02"s);
  CHECK_THAT(error_of([&] { read_torch_file(path); }), Contains("neither 0 nor 1"));
}

TEST_CASE("a pickle is read as data") {
  const std::string bytes = pickle(
      "}(X\x01\0\0\0aK\x07X\x01\0\0\0bJ\xfe\xff\xff\xff"
      "X\x01\0\0\0c(G\x3f\xf8\0\0\0\0\0\0NtX\x01\0\0\0d"
      "\x8a\x02\0\xffu"sv);
  const Pickle read(bytes + "more");
  CHECK(read.size() == bytes.size());
  const PickleValue& root = read.root();
  REQUIRE(root.entries.size() == 4);
  CHECK(root.find("a")->integer == 7);
  CHECK(root.find("b")->integer == -2);
  REQUIRE(root.find("c")->items.size() == 2);
  CHECK(root.find("c")->items[0]->real == 1.5);
  CHECK(root.find("d")->integer == -256);
  CHECK(root.find("e") == nullptr);
}

TEST_CASE("what a pickle would call is not called") {
  const TempFolder folder;
  const std::string command = "touch " + folder.file("called");
  const Pickle read(pickle("cos\nsystem\nU" + std::string(1, static_cast<char>(command.size())) +
                           command + "\x85R"));
  CHECK(read.root().is_call_of("os system"));
  CHECK(read.root().items[1]->items[0]->is_text(command));
  CHECK(folder.names().empty());
}

TEST_CASE("hostile pickles are errors") {
  for (const std::string_view body :
       {"0"sv, "R"sv, "K"sv, "h\x05"sv, "t"sv, "X\xff\xff\xff\x7f"sv, "}(K\1u"sv, "\xee"sv, "b"sv,
        "cos"sv, "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"sv, "(\x85"sv}) {
    INFO(body);
    CHECK_THROWS_AS(Pickle(pickle(body)), Error);
  }
  CHECK_THROWS_AS(Pickle(""), Error);
  // A name of names of names, each twice as long as the one before.
  std::string doubled = "U\x10" + std::string(16, 'x');
  for (int i = 0; i < 40; ++i) doubled += "2\x93";
  CHECK_THROWS_AS(Pickle(pickle(doubled)), Error);
  std::string named = "U\xff" + std::string(255, 'x') + "q\x01";
  for (int i = 0; i < 3000; ++i) named += "h\x01h\x01\x93";
  CHECK_THROWS_AS(Pickle(pickle(named)), Error);
}

}  // namespace
}  // namespace tessera
