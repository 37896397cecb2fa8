// Files of torch.save(), of both containers and several protocols, read back value by value; what
// is broken or hostile is refused. The files are written by torch_files/make.py.
#include "train/torch_file.h"

#include "engine/raw.h"
#include "tests/train/temp_folder.h"
#include "train/pickle.h"

namespace tessera {
namespace {

using Catch::Contains;
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
    for (size_t cut = 20; cut < whole.size(); cut += whole.size() / 23) {
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
}

}  // namespace
}  // namespace tessera
