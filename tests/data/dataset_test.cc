// Folders, CIFAR-10 files, hold-outs: which pictures, in which order, under which label.
#include <catch2/catch.hpp>

#include "data/builtin.h"
#include "data/cifar.h"
#include "data/encode.h"
#include "data/folder.h"
#include "data/holdout.h"
#include "data/open.h"
#include "tests/data/encode_jpeg.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

using Catch::Matchers::Contains;

std::vector<uint8_t> png(int64_t number) {
  const std::string bytes = encode_png(numbered_picture(number, 4, 6));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> names_of(const Dataset& dataset) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) names.push_back(dataset.name(i));
  return names;
}

// Records whose first plane's first value is the record's number.
std::vector<uint8_t> cifar_records(int count, int first) {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < count; ++i) {
    std::vector<uint8_t> record(3073, 50);
    record[0] = static_cast<uint8_t>((first + i) % 10);
    record[1] = static_cast<uint8_t>(first + i);
    record[1 + 1024 + 33] = 77;  // green of row 1, column 1
    bytes.insert(bytes.end(), record.begin(), record.end());
  }
  return bytes;
}

}  // namespace

TEST_CASE("A flat folder: pictures sorted by name, the rest ignored", "[folder]") {
  const TempFolder folder;
  folder.add("b.JPG", encode_jpeg(numbered_picture(1, 4, 6)));
  folder.add("a.png", png(2));
  folder.add("c.jpeg", encode_jpeg(numbered_picture(3, 4, 6)));
  folder.add("C.png", png(4));
  folder.add(".hidden.png", png(5));
  folder.add_text("notes.txt", "x");
  folder.add_folder("empty");
  const FolderDataset set(folder.path() + "/");
  const std::string root = folder.path() + "/";
  CHECK(names_of(set) ==
        std::vector<std::string>{root + "C.png", root + "a.png", root + "b.JPG", root + "c.jpeg"});
  CHECK(set.class_names().empty());
  CHECK(set.label(2) == 0);
  CHECK(set.picture(1) == numbered_picture(2, 4, 6));
}

TEST_CASE("One subfolder a class, as ImageFolder reads it", "[folder]") {
  const TempFolder folder;
  folder.add("dog/2.png", png(1));
  folder.add("dog/10.png", png(2));
  folder.add("cat/z.png", png(3));
  folder.add("cat/more/a.png", png(4));  // deeper ones belong to the class, after its own
  folder.add("loose.png", png(5));
  folder.add(".git/x.png", png(6));
  const FolderDataset set(folder.path());
  const std::string root = folder.path() + "/";
  CHECK(set.class_names() == std::vector<std::string>{"cat", "dog"});
  CHECK(names_of(set) == std::vector<std::string>{root + "cat/z.png", root + "cat/more/a.png",
                                                  root + "dog/10.png", root + "dog/2.png"});
  CHECK(set.label(1) == 0);
  CHECK(set.label(2) == 1);
  CHECK(set.picture(3) == numbered_picture(1, 4, 6));
  CHECK(set.note() ==
        "note: " + folder.path() + ": 1 picture beside the class folders is not used");
  folder.add("loose too.png", png(7));
  CHECK_THAT(open_data(folder.path(), 0.5, 8, 8).train->note(),
             Contains("2 pictures beside the class folders are not used"));
  CHECK(FolderDataset(folder.path() + "/dog").note().empty());
}

TEST_CASE("Folders that hold nothing are refused by name", "[folder]") {
  const TempFolder folder;
  const std::string empty = folder.add_folder("empty");
  folder.add_text("texts/a.txt", "x");
  folder.add("half/full/a.png", png(1));
  folder.add_folder("half/hollow");
  auto message = [&](const std::string& name) {
    return error_of([&] { open_data(folder.path() + "/" + name, 0, 8, 8); });
  };
  CHECK_THAT(message("empty"), Contains("/empty") && Contains("no pictures"));
  CHECK_THAT(message("texts"), Contains("/texts") && Contains("1 other files"));
  CHECK_THAT(message("half"), Contains("/half") && Contains("hollow"));
  CHECK_THAT(message("none"), Contains("/none") && Contains("no such"));
  CHECK_THROWS_AS(open_data(empty, 0, 8, 8), UsageError);
  std::filesystem::create_directory_symlink(empty, empty + "/loop");
  CHECK_FALSE(message("empty").empty());  // and comes back
}

TEST_CASE("CIFAR-10 binary files", "[cifar]") {
  const TempFolder folder;
  folder.add("data_batch_2.bin", cifar_records(20, 20));
  folder.add("data_batch_1.bin", cifar_records(20, 0));
  folder.add("test_batch.bin", cifar_records(10, 100));
  const DataSplit whole = open_data(folder.path(), 0, 32, 32);
  CHECK(whole.train->size() == 40);
  CHECK(whole.held_out->size() == 10);  // its own test set
  CHECK(whole.train->class_names()[9] == "truck");
  CHECK(whole.train->label(23) == 3);
  CHECK_THAT(whole.train->name(23), Contains("data_batch_2.bin#3"));
  const Image picture = whole.train->picture(23);
  CHECK(picture.at(0, 0, 0) == 23);
  CHECK(picture.at(1, 1, 1) == 77);
  CHECK(picture.at(1, 1, 0) == 50);

  const DataSplit split = open_data(folder.path(), 0.25, 32, 32);  // one of each class of four
  CHECK(split.train->size() == 30);
  REQUIRE(split.held_out->size() == 10);
  CHECK(split.held_out->picture(0).at(0, 0, 0) == 30);
  CHECK(open_data(folder.path() + "/test_batch.bin", 0, 32, 32).train->size() == 10);

  std::vector<uint8_t> bytes = cifar_records(2, 0);
  bytes.pop_back();
  folder.add("data_batch_1.bin", bytes);
  CHECK_THAT(error_of([&] { open_data(folder.path(), 0, 32, 32); }),
             Contains("data_batch_1.bin") && Contains("6145 bytes"));
  bytes = cifar_records(2, 0);
  bytes[3073] = 10;
  folder.add("data_batch_1.bin", bytes);
  CHECK_THAT(error_of([&] { open_data(folder.path(), 0, 32, 32); }),
             Contains("label 10 in record 1"));
}

TEST_CASE("Hold-out: the last of each class, nothing twice, nothing lost", "[holdout]") {
  const auto set = std::make_shared<MadeDataset>(
      31, [](int64_t i) { return numbered_picture(i, 2, 2); });  // 11, 10 and 10 of three classes
  const DataSplit split = split_by_class(set, 0.2);
  CHECK(split.train->size() == 25);
  std::vector<std::string> held = names_of(*split.held_out);
  CHECK(held ==
        std::vector<std::string>{"made-25", "made-26", "made-27", "made-28", "made-29", "made-30"});
  std::vector<std::string> all = names_of(*split.train);
  all.insert(all.end(), held.begin(), held.end());
  std::vector<std::string> want = names_of(*set);
  std::sort(all.begin(), all.end());
  std::sort(want.begin(), want.end());
  CHECK(all == want);
  CHECK(split.held_out->picture(1).at(0, 0, 0) == 26);
  CHECK(split.held_out->label(1) == 2);

  CHECK(split_by_class(set, 0).held_out->size() == 0);
  CHECK(split_by_class(set, 1e-6).held_out->size() == 3);  // at least one of each
  CHECK(split_by_class(set, 0.999).train->size() == 3);
  CHECK_THROWS_AS(split_by_class(set, 1.0), UsageError);
  CHECK_THROWS_AS(split_by_class(set, -0.1), UsageError);
}

TEST_CASE("A picture file is a set of one; a broken one is named when it is read", "[open]") {
  const TempFolder folder;
  const std::string path = folder.add("one.png", png(9));
  const DataSplit split = open_data(path, 0, 8, 8);
  REQUIRE(split.train->size() == 1);
  CHECK(split.train->picture(0) == numbered_picture(9, 4, 6));
  const std::string text = folder.add_text("two.png", "no picture");
  CHECK_THAT(error_of([&] { open_data(text, 0, 8, 8).train->picture(0); }), Contains("two.png"));
}

TEST_CASE("What may follow builtin:", "[open]") {
  CHECK(open_data("builtin:", 0, 8, 8).train->size() == 50'000);
  CHECK(open_data("builtin:", 0, 8, 8).train->endless());
  const DataSplit some = open_data("builtin:300", 0.1, 8, 8);
  CHECK(some.train->size() == 300);
  CHECK_FALSE(some.train->endless());
  CHECK(some.held_out->size() == 30);
  for (const char* bad :
       {"builtin:x", "builtin:-3", "builtin:0", "builtin:3x", "builtin:9999999999"}) {
    CHECK_THROWS_AS(open_data(bad, 0, 8, 8), UsageError);
  }
  CHECK_THROWS_AS(open_data("builtin", 0, 8, 8), UsageError);
}

}  // namespace tessera
