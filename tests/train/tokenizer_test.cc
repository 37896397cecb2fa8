// Tokenizers in training and after: how a codebook's use is counted, what is read back from a
// checkpoint, and the file of token ids.
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "data/builtin.h"
#include "data/evaluation.h"
#include "data/folder.h"
#include "engine/raw.h"
#include "models/flops.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/ema.h"
#include "train/files/png_file.h"
#include "train/picture_batches.h"
#include "train/token_cache.h"
#include "train/tokenizer_recipe.h"
#include "train/tokenizer_scores.h"
#include "train/training_data.h"

namespace tessera {
namespace {

TokenizerRecipe small_recipe(const std::string& arch = "dvae") {
  TokenizerRecipe recipe;
  recipe.arch = arch;
  recipe.image_height = recipe.image_width = 16;
  recipe.vocab = 11;
  recipe.width = 8;
  recipe.codebook_dim = 6;
  recipe.layers = 2;
  recipe.decoder_width = 5;
  recipe.mean = {0, 0, 0};
  recipe.std = {1, 1, 1};
  return recipe;
}

// With an encoder that answers to what it sees: as initialised, its biases outweigh the picture and
// every id is the same.
TrainedTokenizer small_tokenizer(uint64_t seed) {
  TrainedTokenizer trained;
  trained.recipe = small_recipe();
  trained.model = make_tokenizer(trained.recipe);
  trained.model->initialize(seed);
  trained.model->visit([](const std::string& name, Tensor& t, StateKind) {
    if (name.starts_with("encoder.")) raw::scale_(t, t.ndim() == 4 ? 3 : 0);
  });
  trained.id = "tokenizer " + std::to_string(seed);
  return trained;
}

EvaluationReader drawn_pictures(int64_t count, int side) {
  return EvaluationReader(
      std::make_shared<BuiltinDataset>(count, false, PictureStream::kTraining, side, side), side,
      side);
}

}  // namespace

TEST_CASE("used tokens and perplexity, by hand") {
  CodeUsage usage(8);
  usage.add(Tensor::from(std::vector<int64_t>{0, 0, 3, 3, 5, 5, 7, 7}, {2, 2, 2}));
  CHECK(usage.used().item() == 4);
  CHECK(usage.perplexity().item() == Approx(4));
  usage.add(Tensor::from(std::vector<int64_t>(8, 0), {8}));
  const double entropy = -(10.0 / 16 * std::log(10.0 / 16) + 3 * 2.0 / 16 * std::log(2.0 / 16));
  CHECK(usage.perplexity().item() == Approx(std::exp(entropy)));
  CHECK(usage.warning().empty());
}

TEST_CASE("a collapsed codebook is said in plain words, a small sample is not blamed") {
  CodeUsage collapsed(512);
  collapsed.add(Tensor::from(std::vector<int64_t>(4096, 17), {4096}));
  CHECK(collapsed.warning().find("collapsed: 1 of 512 tokens") != std::string::npos);
  // Fifty tokens are in use, and one of them nearly always.
  CodeUsage lopsided(512);
  std::vector<int64_t> ids(40'000, 1);
  for (int64_t i = 0; i < 60; ++i) ids[static_cast<size_t>(i)] = i;
  lopsided.add(Tensor::from(ids, {std::ssize(ids)}));
  CHECK(lopsided.used().item() == 60);
  CHECK(!lopsided.warning().empty());
  CodeUsage few(8192);
  few.add(Tensor::from(std::vector<int64_t>{1, 2, 3, 4}, {4}));
  CHECK(few.warning().empty());
}

TEST_CASE("a tokenizer's parameters are counted from its configuration") {
  for (const std::string arch : {"dvae", "dalle"}) {
    INFO(arch);
    TokenizerRecipe recipe = small_recipe(arch);
    for (const int64_t width : {8, 16}) {
      recipe.width = width;
      recipe.blocks_per_group = width == 8 ? 1 : 2;
      recipe.layers = width == 8 ? 2 : 3;
      CHECK(recipe.cost().parameters == make_tokenizer(recipe)->parameter_count());
    }
  }
}

TEST_CASE("a tokenizer comes back from its checkpoint with its averaged weights") {
  const TempFolder folder;
  const std::string path = folder.file("step-00000003.safetensors");
  const TokenizerRecipe recipe = small_recipe();
  const std::unique_ptr<Tokenizer> model = make_tokenizer(recipe);
  model->initialize(1);
  AdamW optimizer(*model, {.average_decay = 0.9});
  const WeightAverage average(optimizer);
  model->initialize(2);  // the weights move on, the average stays
  save_checkpoint(path, *model, optimizer, 3, to_json(recipe), average.tensors());
  const TrainedTokenizer trained = load_tokenizer(path);
  const EvaluationReader pictures = drawn_pictures(4, 16);
  const Tensor images = pictures.pictures(0, 4);
  model->initialize(1);
  CHECK(trained.model->encode(images).to_vector<int64_t>() ==
        model->encode(images).to_vector<int64_t>());
  CHECK(trained.id.starts_with("dvae of 11 tokens, "));
  CHECK(load_tokenizer(path).id == trained.id);

  const std::string plain = folder.file("plain.safetensors");
  save_checkpoint(plain, *model, optimizer, 3, to_json(recipe));
  CHECK(load_tokenizer(plain).id == trained.id);  // seed 1 again
  model->initialize(2);
  save_checkpoint(plain, *model, optimizer, 3, to_json(recipe));
  CHECK(load_tokenizer(plain).id != trained.id);
}

TEST_CASE("scores of a tokenizer follow from its pictures") {
  const TrainedTokenizer trained = small_tokenizer(3);
  const EvaluationReader reader = drawn_pictures(5, 16);
  const TokenizerScores scores =
      evaluate_tokenizer(*trained.model, reader, spread_over(reader.size(), -1));
  CHECK(scores.images == 5);
  double error = 0, psnr = 0;
  CodeUsage usage(11);
  for (int64_t i = 0; i < 5; ++i) {
    const Tensor picture = reader.pictures(i, 1);
    const Tensor ids = trained.model->encode(picture);
    usage.add(ids);
    const std::vector<float> truth = picture.to_vector<float>();
    const std::vector<float> answer = trained.model->decode(ids).to_vector<float>();
    double squares = 0;
    for (size_t k = 0; k < truth.size(); ++k) {
      const double d = truth[k] - answer[k];
      error += std::abs(d) / double(truth.size() * 5);
      squares += d * d / double(truth.size());
    }
    psnr += -10 * std::log10(squares) / 5;
  }
  CHECK(scores.mean_absolute_error == Approx(error));
  CHECK(scores.psnr == Approx(psnr));
  CHECK(scores.usage.used().item() == usage.used().item());
}

TEST_CASE("cached ids are the tokenizer's, plain and mirrored") {
  const TempFolder folder;
  const std::string path = folder.file("tokens.safetensors");
  const TrainedTokenizer trained = small_tokenizer(4);
  const EvaluationReader reader = drawn_pictures(9, 16);
  const TokenSource source = {"nine", "16x16", trained.id};
  const TokenCache cache(path, source, *trained.model, reader, 16, true);
  const Tensor pictures = reader.pictures(0, 9);
  const auto plain = trained.model->encode(pictures).to_vector<int64_t>();
  const auto mirrored =
      trained.model->encode(raw::contiguous(raw::flip(pictures, 3))).to_vector<int64_t>();
  const auto found = cache.ids({7, 2, 7}, {0, 1, 1}).to_vector<int64_t>();
  const auto row = [](const std::vector<int64_t>& all, int64_t i) {
    return std::vector<int64_t>(all.begin() + i * 16, all.begin() + (i + 1) * 16);
  };
  // No picture and no mirror flag can stand for another.
  const std::vector<std::vector<int64_t>> rows = {row(plain, 2), row(mirrored, 2), row(plain, 7),
                                                  row(mirrored, 7), row(plain, 0)};
  REQUIRE(std::set(rows.begin(), rows.end()).size() == rows.size());
  CHECK(row(found, 0) == row(plain, 7));
  CHECK(row(found, 1) == row(mirrored, 2));
  CHECK(row(found, 2) == row(mirrored, 7));
  CHECK_THROWS_AS(cache.ids({9}, {0}), Error);

  // Read back, not made again: another tokenizer under the same name would give other ids.
  const TokenCache again(path, source, *small_tokenizer(5).model, reader, 16, true);
  CHECK(again.ids({7, 2, 7}, {0, 1, 1}).to_vector<int64_t>() == found);
}

TEST_CASE("a cache that is damaged or of something else is made anew") {
  const TempFolder folder;
  const std::string path = folder.file("tokens.safetensors");
  const TrainedTokenizer first = small_tokenizer(4), second = small_tokenizer(5);
  const EvaluationReader reader = drawn_pictures(6, 16);
  const TokenSource source = {"six", "16x16", first.id};
  const auto ids_of = [](const TokenCache& cache) {
    return cache.ids({0, 1, 2, 3, 4, 5}, {0, 0, 0, 0, 0, 0}).to_vector<int64_t>();
  };
  const auto of_first = ids_of(TokenCache(path, source, *first.model, reader, 16, false));
  const auto of_second =
      ids_of(TokenCache(path, {"six", "16x16", second.id}, *second.model, reader, 16, false));
  CHECK(of_second != of_first);  // the tokenizer's id tells them apart
  for (const TokenSource& other :
       {TokenSource{"seven", "16x16", second.id}, TokenSource{"six", "32x32", second.id}}) {
    TokenCache(path, source, *first.model, reader, 16, false);
    CHECK(ids_of(TokenCache(path, other, *second.model, reader, 16, false)) == of_second);
  }
  const std::string whole = slurp(path);
  for (const std::string& damaged :
       {whole.substr(0, whole.size() - 5), std::string("nothing"), [&] {
          std::string flipped = whole;
          flipped[flipped.size() - 9] = static_cast<char>(flipped[flipped.size() - 9] ^ 1);
          return flipped;
        }()}) {
    spill(path, damaged);
    CHECK(ids_of(TokenCache(path, source, *first.model, reader, 16, false)) == of_first);
    CHECK(slurp(path) != damaged);
  }
}

TEST_CASE("a cache never takes the place of another kind of file") {
  const TempFolder folder;
  const TrainedTokenizer trained = small_tokenizer(4);
  const EvaluationReader reader = drawn_pictures(2, 16);
  const auto open = [&](const std::string& path) {
    return error_of([&] {
      TokenCache(path, {"two", "16x16", trained.id}, *trained.model, reader, 16, false);
    });
  };
  CHECK(open(folder.file("tokens")).find("must end in .safetensors") != std::string::npos);
  const std::string checkpoint = folder.file("model.safetensors");
  AdamW optimizer(*trained.model, {});
  save_checkpoint(checkpoint, *trained.model, optimizer, 1, to_json(trained.recipe));
  CHECK(open(checkpoint).find("no cache of tokens") != std::string::npos);
}

TEST_CASE("a set's version tells other pictures of the same names, its id does not") {
  const auto drawn = [](int side) {
    return BuiltinDataset(40, false, PictureStream::kTraining, side, side);
  };
  CHECK(data_id_of(drawn(16)) == data_id_of(drawn(32)));
  CHECK(version_of(drawn(16)) == version_of(drawn(16)));
  CHECK(version_of(drawn(16)) != version_of(drawn(32)));

  const TempFolder folder;
  const std::string one = folder.file("a.png"), other = folder.file("b.png");
  write_png(one, drawn(16).picture(1));
  write_png(other, drawn(16).picture(2));
  const FolderDataset before(folder.path());
  const std::string id = data_id_of(before), version = version_of(before);
  CHECK(version_of(FolderDataset(folder.path())) == version);
  // The size and the time are looked at when they are asked for, each by itself.
  const auto changed = std::filesystem::last_write_time(one);
  const std::string bytes = slurp(one);
  spill(one, bytes + " ");
  std::filesystem::last_write_time(one, changed);
  CHECK(version_of(FolderDataset(folder.path())) != version);
  spill(one, bytes);
  std::filesystem::last_write_time(one, changed);
  CHECK(version_of(FolderDataset(folder.path())) == version);
  std::filesystem::last_write_time(one, changed + std::chrono::seconds(1));
  CHECK(version_of(FolderDataset(folder.path())) != version);
  CHECK(data_id_of(FolderDataset(folder.path())) == id);
}

TEST_CASE("a run's batches are watched for a collapse, and one odd batch is none") {
  CodeWatch watch(512, 4096);
  CHECK(watch.warning().empty());
  for (int i = 0; i < CodeWatch::kSteps; ++i) {
    CHECK_FALSE(watch.settled());
    watch.add(300, 200);
  }
  CHECK(watch.settled());
  CHECK(watch.warning().empty());
  watch.add(1, 1);
  CHECK(watch.warning().empty());
  int steps = 0;
  for (; watch.warning().empty() && steps < 1000; ++steps) watch.add(1, 1);
  // A fifth of 512 is left when 299 e^(-n / 100) has come down to 101.
  CHECK(steps > 80);
  CHECK(steps < 130);
  for (int i = 0; i < 1000; ++i) watch.add(1, 1);
  CHECK_THAT(watch.warning(), Catch::Contains("1 of 512 tokens are in use by a batch"));
  CHECK_THAT(watch.warning(), Catch::Contains("more --temperature-steps"));
  // Few ids, of which all differ, are no collapse.
  CodeWatch small(512, 16);
  small.add(12, 9);
  CHECK(small.warning().empty());
}

TEST_CASE(
    "a checkpoint is named, whether its recipe asks for the impossible or its weights differ") {
  const TempFolder folder;
  const std::string path = folder.file("odd.safetensors");
  const TrainedTokenizer trained = small_tokenizer(4);
  AdamW optimizer(*trained.model, {});
  const auto refused = [&](TokenizerRecipe recipe) {
    save_checkpoint(path, *trained.model, optimizer, 1, to_json(recipe));
    const std::string message = error_of([&] { load_tokenizer(path); });
    CHECK(message.starts_with(path + ": "));
    return message;
  };
  TokenizerRecipe wrong = small_recipe();
  wrong.image_height = 18;
  CHECK_THAT(refused(wrong), Catch::Contains("18x16"));
  CHECK_THROWS_AS(load_tokenizer(path), UsageError);  // as the same flag is
  wrong = small_recipe();
  wrong.vocab = 12;
  refused(wrong);
  CHECK_THROWS_AS(load_tokenizer(path), Error);
}

}  // namespace tessera
