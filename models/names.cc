// One table for each choice.
#include "models/names.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

template <class Choice>
using Names = std::vector<std::pair<Choice, const char*>>;

const Names<RelativeBias> kRelativeBias = {{RelativeBias::kNone, "none"},
                                           {RelativeBias::kShared, "shared"},
                                           {RelativeBias::kPerBlock, "per-block"}};
const Names<QkvBias> kQkvBias = {
    {QkvBias::kNone, "none"}, {QkvBias::kAll, "all"}, {QkvBias::kQueryValue, "query-value"}};
const Names<Pooling> kPooling = {{Pooling::kMean, "mean"}, {Pooling::kClassToken, "class-token"}};

template <class Choice>
const char* name_in(const Names<Choice>& names, Choice choice) {
  return std::find_if(names.begin(), names.end(), [&](const auto& n) { return n.first == choice; })
      ->second;
}

template <class Choice>
Choice choice_in(const Names<Choice>& names, const char* what, std::string_view name) {
  std::vector<const char*> known;
  for (const auto& [choice, word] : names) {
    if (name == word) return choice;
    known.push_back(word);
  }
  throw UsageError(fmt::format("there is no {} '{}': {}", what, name, fmt::join(known, ", ")));
}

}  // namespace

const char* name_of(RelativeBias bias) { return name_in(kRelativeBias, bias); }
RelativeBias relative_bias_from_name(std::string_view name) {
  return choice_in(kRelativeBias, "relative bias", name);
}

const char* name_of(QkvBias bias) { return name_in(kQkvBias, bias); }
QkvBias qkv_bias_from_name(std::string_view name) { return choice_in(kQkvBias, "qkv bias", name); }

const char* name_of(Pooling pooling) { return name_in(kPooling, pooling); }
Pooling pooling_from_name(std::string_view name) { return choice_in(kPooling, "pooling", name); }

}  // namespace tessera
