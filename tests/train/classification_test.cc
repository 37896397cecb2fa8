// Counting by hand; the confusion matrix as a picture.
#include "train/probes/classification.h"

#include "data/draw.h"
#include "tests/train/temp_folder.h"
#include "train/probes/confusion_sheet.h"

namespace tessera {
namespace {

// Eight pictures of three classes: 0 0 0 0 1 1 1 2, taken for 0 0 0 1 1 1 0 1.
Classification small_result() {
  const Tensor scores = Tensor::from(std::vector<float>{.9f, .1f, 0,    //
                                                        .5f, .3f, .2f,  //
                                                        .4f, .4f, .2f,  // equal: the smaller
                                                        0,   1,   0,    //
                                                        -3,  -1,  -2,   //
                                                        0,   1,   1,    // equal
                                                        5,   1,   0,    //
                                                        0,   1,   0},
                                     {8, 3});
  return classify(scores, std::vector<int64_t>{0, 0, 0, 0, 1, 1, 1, 2});
}

}  // namespace

TEST_CASE("right answers, and who is taken for whom") {
  const Classification result = small_result();
  CHECK(result.pictures == 8);
  CHECK(result.top1 == 5.0 / 8);
  CHECK(result.top5 == 1);
  CHECK(result.confusion == std::vector<int64_t>{3, 1, 0, 1, 2, 0, 0, 1, 0});
  const std::vector<ClassScores> classes = result.by_class();
  CHECK(classes[0].pictures == 4);
  CHECK(classes[0].recall == 0.75);
  CHECK(classes[0].precision == 0.75);
  CHECK(classes[1].answered == 4);
  CHECK(classes[1].recall == Approx(2.0 / 3));
  CHECK(classes[1].precision == 0.5);
  CHECK(classes[2].pictures == 1);
  CHECK(classes[2].answered == 0);
  CHECK(classes[2].recall == 0);
  CHECK(classes[2].precision == 0);  // none was taken for it
}

TEST_CASE("the first five, with classes beyond them") {
  std::vector<float> row = {1, 2, 3, 4, 5, 6, 7};
  std::vector<float> scores;
  for (int i = 0; i < 7; ++i) scores.insert(scores.end(), row.begin(), row.end());
  const Classification result =
      classify(Tensor::from(scores, {7, 7}), std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6});
  CHECK(result.top1 == Approx(1.0 / 7));
  CHECK(result.top5 == Approx(5.0 / 7));
  CHECK(likeliest(row, 3) == std::vector<int64_t>{6, 5, 4});
  CHECK(likeliest(std::vector<float>{1, 1, 2, 2}, 9) == std::vector<int64_t>{2, 3, 0, 1});
}

TEST_CASE("scores and labels that do not fit are refused") {
  const Tensor scores = Tensor::zeros({2, 3});
  CHECK_THROWS_WITH(classify(scores, std::vector<int64_t>{0}), Catch::Contains("1 labels"));
  CHECK_THROWS_WITH(classify(scores, std::vector<int64_t>{0, 3}), Catch::Contains("label 3"));
  CHECK_THROWS_WITH(check_has_classes({}, "--data x"),
                    Catch::Contains("--data x") && Catch::Contains("no classes"));
  CHECK_THROWS_WITH(check_has_classes({"cat"}, "--data x"), Catch::Contains("cat"));
  check_has_classes({"cat", "dog"}, "--data x");
}

TEST_CASE("the confusion matrix as a picture: shades of the row's shares") {
  const std::vector<std::string> names = {"ant", "a rather long name of a class", "c"};
  const Image sheet = confusion_sheet(small_result(), names);
  const int label = text_width(std::string(24, 'x'));  // long names are cut
  const int left = 8 + label + 8, cell = 40;
  REQUIRE(sheet.width == left + 3 * cell + 8);
  REQUIRE(sheet.height == sheet.width);
  const auto corner = [&](int row, int column) {
    const int y = left + row * cell + 3, x = left + column * cell + 3;
    return Color{sheet.at(y, x, 0), sheet.at(y, x, 1), sheet.at(y, x, 2)};
  };
  CHECK(corner(0, 2) == kWhite);               // none
  CHECK(corner(2, 1) == Color{12, 58, 120});   // all of them
  CHECK(corner(0, 0).red < corner(0, 1).red);  // three of four, one of four
  CHECK(corner(1, 0).red > corner(1, 1).red);  // one of three, two of three
  // The count stands in its cell, and nothing in an empty one.
  const auto ink = [&](int row, int column) {
    int dots = 0;
    const Color ground = corner(row, column);
    for (int y = left + row * cell + 2; y < left + (row + 1) * cell; ++y) {
      for (int x = left + column * cell + 2; x < left + (column + 1) * cell; ++x) {
        dots += Color{sheet.at(y, x, 0), sheet.at(y, x, 1), sheet.at(y, x, 2)} != ground;
      }
    }
    return dots;
  };
  CHECK(ink(0, 0) > 5);
  CHECK(ink(0, 2) == 0);
  CHECK_THROWS_WITH(confusion_sheet(small_result(), {"a"}), Catch::Contains("1 names"));
}

TEST_CASE("many classes: smaller cells, no names beyond 120") {
  for (const auto& [classes, side] : std::vector<std::pair<int64_t, int>>{{31, 12}, {150, 4}}) {
    Classification result;
    result.classes = classes;
    result.confusion.assign(static_cast<size_t>(classes * classes), 1);
    const Image sheet =
        confusion_sheet(result, std::vector<std::string>(static_cast<size_t>(classes), "name"));
    const int names = classes <= 120 ? text_width("name") : 0;
    CHECK(sheet.width == 8 + names + 8 + static_cast<int>(classes) * side + 8);
  }
}

}  // namespace tessera
