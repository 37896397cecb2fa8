// Published models recognised by their tensors: what is built from them has their weights.
#include "train/published.h"

#include "engine/raw.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/files/safetensors.h"
#include "train/files/torch_file.h"
#include "train/pretrain_beit.h"
#include "train/pretrain_mae.h"
#include "train/tokenizer_recipe.h"

namespace tessera {
namespace {

using Catch::Contains;

const std::string kWeights = "weights/";

// The state dict in a file of golden numbers.
StateDict golden(const std::string& file) {
  const SafetensorsReader reader("tests/golden/" + file);
  StateDict dict;
  for (auto& [name, tensor] :
       read_tensors(reader, [](const std::string& name) { return name.starts_with(kWeights); })) {
    dict[name.substr(kWeights.size())] = tensor;
  }
  return dict;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.view().data, b.view().data, size_t(a.numel()) * size_of(a.dtype())) == 0;
}

void check_same(const PublishedModel& model, const StateDict& dict) {
  for (const NamedTensor& weight : model.weights) {
    INFO(weight.name);
    REQUIRE(dict.contains(weight.name));
    CHECK(same_bytes(weight.tensor, dict.at(weight.name)));
  }
}

TEST_CASE("MAE's file: the same weights, and the model they belong to") {
  const StateDict file = read_torch_file("tests/golden/mae_pixels.pth");
  PublishedOptions options;
  options.heads = 2;
  options.decoder_heads = 4;
  const PublishedModel model = published_model({file}, options);
  const StateDict same = golden("mae_pixels.safetensors");
  CHECK(model.weights.size() == same.size());
  check_same(model, same);
  const MaeConfig& config = dynamic_cast<const MaeRecipe&>(*model.recipe).model;
  CHECK(config.image_height == 32);
  CHECK(config.patch == 8);
  CHECK(config.dim == 32);
  CHECK(config.depth == 1);
  CHECK(config.decoder_dim == 48);
  CHECK(config.decoder_depth == 2);
  CHECK(config.decoder_heads == 4);

  CHECK_THAT(error_of([&] { published_model({file}, {}); }), Contains("--heads"));
  StateDict encoder = file;
  std::erase_if(encoder, [](const auto& entry) {
    return entry.first.starts_with("decoder_") || entry.first == "mask_token";
  });
  const PublishedModel alone = published_model({encoder}, options);
  CHECK_THAT(alone.what, Contains("encoder alone"));
  CHECK(alone.weights.size() == encoder.size());
  check_same(alone, same);

  StateDict short_of_one = file;
  short_of_one.erase("blocks.0.norm1.bias");
  CHECK_THAT(error_of([&] { published_model({short_of_one}, options); }),
             Contains("blocks.0.norm1.bias"));
  StateDict one_more = file;
  one_more["blocks.0.surprise"] = Tensor::zeros({2});
  CHECK_THAT(error_of([&] { published_model({one_more}, options); }), Contains("surprise"));
}

TEST_CASE("BEiT's files, with shared relative and with absolute positions") {
  PublishedOptions options;
  for (const char* file : {"beit_shared_rel_pos.safetensors", "beit_abs_pos.safetensors"}) {
    INFO(file);
    StateDict dict = golden(file);
    const bool shared = dict.contains("rel_pos_bias.relative_position_bias_table");
    if (!shared) options.heads = 4;  // nothing in the file tells
    const PublishedModel model = published_model({dict}, options);
    check_same(model, dict);
    const auto& recipe = dynamic_cast<const BeitRecipe&>(*model.recipe);
    CHECK(recipe.model.absolute_positions == !shared);
    CHECK((recipe.model.relative_bias == RelativeBias::kShared) == shared);
    CHECK(recipe.model.vocab == dict.at("lm_head.weight").size(0));
    CHECK(recipe.mean == std::vector<float>{0.5f, 0.5f, 0.5f});
    Beit built(recipe.model);
    StateDict weights;
    for (const NamedTensor& weight : model.weights) weights[weight.name] = weight.tensor;
    CHECK_NOTHROW(built.load_state_dict(weights));
  }
}

TEST_CASE("DALL-E's tokenizer from its two files, in any order") {
  const std::string folder = "tests/train/torch_files/";
  const StateDict encoder = read_torch_file(folder + "encoder.pkl");
  const StateDict decoder = read_torch_file(folder + "decoder.pkl");
  for (const bool turned : {false, true}) {
    const PublishedModel model =
        turned ? published_model({decoder, encoder}, {}) : published_model({encoder, decoder}, {});
    const auto& recipe = dynamic_cast<const TokenizerRecipe&>(*model.recipe);
    CHECK(recipe.arch == "dalle");
    CHECK(recipe.vocab == 6);
    CHECK(recipe.width == 4);
    CHECK(recipe.blocks_per_group == 1);
    CHECK(model.weights.size() == encoder.size() + decoder.size());
    for (const NamedTensor& weight : model.weights) {
      INFO(weight.name);
      const bool of_encoder = weight.name.starts_with("encoder.");
      CHECK(same_bytes(weight.tensor, (of_encoder ? encoder : decoder).at(weight.name.substr(8))));
    }
    // A checkpoint like any other: the tokenizer that comes back names tokens.
    const TempFolder out;
    save_weights(out.file("t.safetensors"), model.weights, to_json(recipe));
    const TrainedTokenizer back = load_tokenizer(out.file("t.safetensors"));
    const Tensor ids = back.model->encode(Tensor::zeros({1, 3, 16, 16}));
    CHECK(ids.shape() == Shape{1, 2, 2});
  }
  CHECK_THAT(error_of([&] { published_model({encoder}, {}); }), Contains("both files"));
  CHECK_THAT(error_of([&] { published_model({encoder, encoder}, {}); }), Contains("same half"));
}

TEST_CASE("what is none of them is refused") {
  CHECK_THAT(error_of([] {
               published_model({{{"conv.weight", Tensor::zeros({2})}}}, {});
             }),
             Contains("neither"));
  CHECK_THAT(error_of([] { published_model({golden("beit_classifier.safetensors")}, {}); }),
             Contains("classifier"));
}

}  // namespace
}  // namespace tessera
