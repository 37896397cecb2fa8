// One table for each choice.
#include "models/names.h"

#include "engine/words.h"

namespace tessera {
namespace {

constexpr Word<RelativeBias> kRelativeBias[] = {{RelativeBias::kNone, "none"},
                                                {RelativeBias::kShared, "shared"},
                                                {RelativeBias::kPerBlock, "per-block"}};
constexpr Word<QkvBias> kQkvBias[] = {
    {QkvBias::kNone, "none"}, {QkvBias::kAll, "all"}, {QkvBias::kQueryValue, "query-value"}};
constexpr Word<Pooling> kPooling[] = {{Pooling::kMean, "mean"},
                                      {Pooling::kClassToken, "class-token"}};

}  // namespace

const char* name_of(RelativeBias bias) { return word_for(kRelativeBias, bias); }
RelativeBias relative_bias_from_name(std::string_view name) {
  return choice_for(kRelativeBias, "relative bias", name);
}

const char* name_of(QkvBias bias) { return word_for(kQkvBias, bias); }
QkvBias qkv_bias_from_name(std::string_view name) { return choice_for(kQkvBias, "qkv bias", name); }

const char* name_of(Pooling pooling) { return word_for(kPooling, pooling); }
Pooling pooling_from_name(std::string_view name) { return choice_for(kPooling, "pooling", name); }

}  // namespace tessera
