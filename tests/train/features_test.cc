// Features of a set: the encoder's own numbers, the same bits for any threads and any neighbours,
// in files that others read.
#include "train/probes/features.h"

#include <cstring>
#include <functional>

#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/transfer.h"
#include "tests/train/temp_folder.h"
#include "train/files/npy.h"
#include "train/picture_batches.h"
#include "train/probes/attention.h"

namespace tessera {
namespace {

// Pictures of one shade each, of three classes; those named are broken.
class Shades : public Dataset {
 public:
  explicit Shades(int64_t size, std::vector<int64_t> broken = {})
      : size_(size), broken_(std::move(broken)) {}
  int64_t size() const override { return size_; }
  const std::vector<std::string>& class_names() const override { return classes_; }
  int64_t label(int64_t i) const override { return i % 3; }
  std::string name(int64_t i) const override { return "shade " + std::to_string(i); }
  Image picture(int64_t i) const override {
    TESSERA_CHECK(std::find(broken_.begin(), broken_.end(), i) == broken_.end(), "{}: broken",
                  name(i));
    Image image(20, 8, 3);
    for (size_t p = 0; p < image.pixels.size(); ++p) {
      image.pixels[p] = static_cast<uint8_t>(i * 7 + static_cast<int64_t>(p) % 5 * 20);
    }
    return image;
  }

 private:
  int64_t size_;
  std::vector<int64_t> broken_;
  std::vector<std::string> classes_ = {"a", "b", "c"};
};

EvaluationReader shades(int64_t size, std::vector<int64_t> broken = {}) {
  return EvaluationReader(std::make_shared<Shades>(size, std::move(broken)), 8, 20);
}

const Normalisation kNormalisation = {{0.5f, 0.4f, 0.3f}, {0.2f, 0.3f, 0.4f}};

// Two blocks, 2 x 5 patches.
const VitEncoder& small_encoder() {
  static const std::unique_ptr<VitEncoder> encoder = [] {
    MaeConfig config;
    config.image_height = 8;
    config.image_width = 20;
    config.patch = 4;
    config.dim = 12;
    config.depth = 2;
    config.heads = 3;
    config.decoder_dim = 8;
    config.decoder_depth = 1;
    config.decoder_heads = 2;
    const Mae mae(config, 3);
    std::map<std::string, Tensor> weights;
    for (const auto& [name, tensor] : mae.state_dict()) weights[name] = tensor;
    auto made = std::make_unique<VitEncoder>(encoder_of(config), FinalNorm::kTokens);
    made->load(weights);
    return made;
  }();
  return *encoder;
}

std::vector<int64_t> first(int64_t n) { return spread_over(n, -1); }

}  // namespace

TEST_CASE("numbers spread over a set") {
  CHECK(spread_over(10, 4) == std::vector<int64_t>{0, 2, 5, 7});
  CHECK(spread_over(3, -1) == std::vector<int64_t>{0, 1, 2});
  CHECK(spread_over(3, 9) == std::vector<int64_t>{0, 1, 2});
  CHECK(spread_over(0, 5).empty());
}

TEST_CASE("a row is what the encoder makes of that picture alone, bit for bit") {
  const EvaluationReader reader = shades(300);  // more than a batch
  const Features all =
      extract_features(small_encoder(), kNormalisation, reader, {first(300), {1, 2}});
  REQUIRE(all.values.shape() == Shape{300, 2, 2, 12});
  CHECK(all.pictures == first(300));
  for (const int64_t picture : {int64_t{0}, int64_t{101}, int64_t{299}}) {
    CHECK(all.labels[picture] == picture % 3);
    const Tensor image = raw::reshape(reader.picture(picture), {1, 3, 8, 20});
    const auto tokens = small_encoder().tokens(kNormalisation.apply(image));
    for (const int64_t place : {0, 1}) {
      const auto want = small_encoder().pooled(tokens[place], place == 1).to_vector<float>();
      const Tensor row = raw::slice(all.of(place, Pool::kBoth), 0, picture, picture + 1);
      CHECK(row.to_vector<float>() == want);
      const auto part = [&](Pool pool) {
        return raw::slice(all.of(place, pool), 0, picture, picture + 1).to_vector<float>();
      };
      CHECK(part(Pool::kClass) == std::vector<float>(want.begin(), want.begin() + 12));
      CHECK(part(Pool::kMean) == std::vector<float>(want.begin() + 12, want.end()));
    }
  }
}

TEST_CASE("the same bits for any number of threads, and in any order") {
  const EvaluationReader reader = shades(40);
  const auto values = [&](const std::vector<int64_t>& pictures) {
    return extract_features(small_encoder(), kNormalisation, reader, {pictures, {2}})
        .values.to_vector<float>();
  };
  const int threads = num_threads();
  const std::vector<float> want = values(first(40));
  for (const int other : {1, 2, 3}) {
    set_num_threads(other);
    CHECK(values(first(40)) == want);
  }
  set_num_threads(threads);
  const std::vector<float> two = values({39, 0});
  CHECK(std::vector<float>(two.begin(), two.begin() + 24) ==
        std::vector<float>(want.end() - 24, want.end()));
}

TEST_CASE("all tokens, and requests that make no sense") {
  const EvaluationReader reader = shades(3);
  const Features tokens =
      extract_features(small_encoder(), kNormalisation, reader, {{2, 1}, {2}, true});
  CHECK(tokens.of(0, Pool::kTokens).shape() == Shape{2, 11, 12});
  CHECK(tokens.labels == std::vector<int64_t>{2, 1});
  CHECK_THROWS_WITH(tokens.of(0, Pool::kMean), Catch::Contains("not pooled"));
  const auto request = [&](int64_t block) {
    extract_features(small_encoder(), kNormalisation, reader, {{0}, {block}});
  };
  CHECK_THROWS_WITH(request(0), Catch::Contains("blocks 1 to 2"));
  CHECK_THROWS_WITH(request(3), Catch::Contains("block 3"));
  CHECK(pool_from_name("mean") == Pool::kMean);
  CHECK_THROWS_WITH(pool_from_name("max"), Catch::Contains("--pool 'max': class, mean"));
}

TEST_CASE("broken pictures are passed over; a set of nothing else is an error") {
  const Features features =
      extract_features(small_encoder(), kNormalisation, shades(5, {1, 3}), {first(5), {2}});
  CHECK(features.pictures == std::vector<int64_t>{0, 2, 4});
  CHECK(features.labels == std::vector<int64_t>{0, 2, 1});
  CHECK(features.values.size(0) == 3);
  const Features whole = extract_features(small_encoder(), kNormalisation, shades(5), {{2}, {2}});
  CHECK(raw::slice(features.values, 0, 1, 2).to_vector<float>() == whole.values.to_vector<float>());
  CHECK_THROWS_WITH(
      extract_features(small_encoder(), kNormalisation, shades(2, {0, 1}), {first(2), {2}}),
      Catch::Contains("none of 2 pictures"));
}

TEST_CASE("progress counts pictures, broken ones too") {
  std::vector<int64_t> heard;
  extract_features(small_encoder(), kNormalisation, shades(300, {7}), {first(300), {1}},
                   [&](int64_t done) { heard.push_back(done); });
  REQUIRE(heard.size() > 1);
  CHECK(std::is_sorted(heard.begin(), heard.end()));
  CHECK(heard.back() == 300);
}

TEST_CASE("an .npy file has NumPy's header and the values as they lie") {
  const TempFolder folder;
  const std::string path = folder.file("x.npy");
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  write_npy(path, raw::transpose(x, 0, 1));
  const std::string bytes = slurp(path);
  REQUIRE(bytes.size() == 128 + 6 * sizeof(float));
  CHECK(bytes.starts_with(std::string("\x93NUMPY\x01\x00\x76\x00", 10)));
  CHECK(bytes.find("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, ), }") == 10);
  CHECK(bytes[127] == '\n');
  float values[6];
  std::memcpy(values, bytes.data() + 128, sizeof values);
  CHECK(std::vector<float>(values, values + 6) == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK_THROWS_WITH(write_npy(path, Tensor::zeros({2}, DType::kBF16)), Catch::Contains("bf16"));
  CHECK(slurp(path) == bytes);
}

TEST_CASE("what a class token looks at: the model's own probabilities") {
  const EvaluationReader reader = shades(1);
  const Tensor image = raw::reshape(reader.picture(0), {1, 3, 8, 20});
  const std::vector<int64_t> blocks = {2, 1};
  const auto maps = class_attention(small_encoder(), kNormalisation, image, blocks);
  const auto attention = small_encoder().attention(kNormalisation.apply(image));
  REQUIRE(maps.size() == 2);
  for (size_t b = 0; b < 2; ++b) {
    const std::vector<AttentionMap>& block = maps[b];
    REQUIRE(block.size() == 5);
    CHECK(block[0].name == "mean");
    CHECK(block[1].name == "rollout");
    CHECK(block[4].name == "head 3");
    const auto all = attention[static_cast<size_t>(blocks[b] - 1)].to_vector<float>();
    for (int64_t patch = 0; patch < 10; ++patch) {
      double sum = 0;
      for (int64_t h = 0; h < 3; ++h) {
        const float share = all[static_cast<size_t>(h * 121 + 1 + patch)];
        CHECK(block[static_cast<size_t>(2 + h)].patches[patch] == share);
        sum += share;
      }
      CHECK(block[0].patches[patch] == Approx(sum / 3).epsilon(1e-5));
    }
  }
  // After one block the rollout is half of what the heads take, on the patches.
  for (int64_t patch = 0; patch < 10; ++patch) {
    CHECK(maps[1][1].patches[patch] == Approx(maps[1][0].patches[patch] / 2).epsilon(1e-5));
  }
  CHECK_THROWS_WITH(
      class_attention(small_encoder(), kNormalisation, image, std::vector<int64_t>{3}),
      Catch::Contains("block 3"));
}

TEST_CASE("a map over a picture: the largest patch glows, the least is dark") {
  const Tensor grey = Tensor::full({3, 8, 20}, 0.4);
  std::vector<float> patches(10, 0.02f);
  patches[7] = 0.3f;  // second row, third column
  const Image overlay = attention_overlay(grey, patches, {2, 5});
  REQUIRE(overlay.width == 20);
  const auto at = [&](int y, int x) {
    return std::vector<int>{overlay.at(y, x, 0), overlay.at(y, x, 1), overlay.at(y, x, 2)};
  };
  CHECK(at(0, 0) == std::vector<int>{46, 46, 46});      // 0.45 * 102
  CHECK(at(5, 10) == std::vector<int>{186, 186, 186});  // + 0.55 * 255, white at the very top
  CHECK(at(5, 8) == at(4, 11));
  CHECK(at(3, 10) == at(0, 0));
  // A map that is the same everywhere has no largest patch.
  CHECK(attention_overlay(grey, std::vector<float>(10, 0.1f), {2, 5}).at(5, 10, 0) == 46);
  CHECK_THROWS_WITH(attention_overlay(grey, patches, {5, 5}), Catch::Contains("10 patches"));
}

TEST_CASE("the sheet: a row for every picture and block, a column for every map") {
  const std::vector<int64_t> pictures = {0, 1, 2}, one = {2}, both = {1, 2};
  const Image sheet =
      attention_sheet(small_encoder(), kNormalisation, shades(3, {1}), pictures, one);
  // 8 x 20 is magnified sixfold; the broken picture has no row.
  CHECK(sheet.width == 4 + 6 * (120 + 4));
  CHECK(sheet.height == 16 + 2 * (48 + 4));
  CHECK(sheet.at(16, 4, 0) == shades(3).picture(0).data<float>()[0] * 255);
  const Image blocks =
      attention_sheet(small_encoder(), kNormalisation, shades(3), std::vector<int64_t>{2}, both);
  CHECK(blocks.height == sheet.height);
  CHECK(blocks.width > sheet.width);  // the blocks' numbers stand to the left
  const auto sheet_of = [&](const EvaluationReader& reader, const std::vector<int64_t>& asked) {
    attention_sheet(small_encoder(), kNormalisation, reader, asked, one);
  };
  CHECK_THROWS_WITH(sheet_of(shades(1, {0}), {0}), "shade 0: broken");
  CHECK_THROWS_WITH(sheet_of(shades(2, {0, 1}), {0, 1}),
                    "none of 2 pictures could be read: shade 0: broken");
}

}  // namespace tessera
