// Words for the choices in a model's configuration, as flags and recipes write them.
// Rule: a word that is none is a UsageError that lists those there are.
#pragma once

#include <string_view>

#include "models/vit.h"

namespace tessera {

const char* name_of(RelativeBias bias);  // "none", "shared", "per-block"
RelativeBias relative_bias_from_name(std::string_view name);

const char* name_of(QkvBias bias);  // "none", "all", "query-value"
QkvBias qkv_bias_from_name(std::string_view name);

const char* name_of(Pooling pooling);  // "mean", "class-token"
Pooling pooling_from_name(std::string_view name);

}  // namespace tessera
