// Words for the values of an enum, as flags and recipes write them: one table for each enum.
// Rule: a word that is none is a UsageError that lists those there are.
#pragma once

#include <string_view>
#include <vector>

#include "engine/error.h"

namespace tessera {

template <class Choice>
struct Word {
  Choice choice;
  const char* word;
};

// The word for a choice; every one must be in the table.
template <class Choice, size_t kCount>
const char* word_for(const Word<Choice> (&words)[kCount], Choice choice) {
  for (const Word<Choice>& known : words) {
    if (known.choice == choice) return known.word;
  }
  throw Error(fmt::format("[words] choice {} has no word", static_cast<int>(choice)));
}

// The choice that a word names; `what` it is chosen for stands in the error.
template <class Choice, size_t kCount>
Choice choice_for(const Word<Choice> (&words)[kCount], const char* what, std::string_view word) {
  std::vector<const char*> known;
  for (const Word<Choice>& entry : words) {
    if (word == entry.word) return entry.choice;
    known.push_back(entry.word);
  }
  throw UsageError(fmt::format("there is no {} '{}': {}", what, word, fmt::join(known, ", ")));
}

}  // namespace tessera
