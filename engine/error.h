// The one error type and the one check of the project.
// Rule: a message says what happened, where, and the values that matter, on one line; a user's
// mistake (UsageError, exit 2) and a failure (Error, exit 1) differ only in their type.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace tessera {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The user asked for something that cannot be: a bad flag, a missing file, shapes that do not fit.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace tessera

// TESSERA_CHECK(n > 0, "[slice] step must be positive, got {}", step)
#define TESSERA_CHECK(condition, ...)                     \
  do {                                                    \
    if (!(condition)) [[unlikely]]                        \
      throw ::tessera::Error(::fmt::format(__VA_ARGS__)); \
  } while (false)

// The same for what a user typed or gave.
#define TESSERA_CHECK_USAGE(condition, ...)                    \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      throw ::tessera::UsageError(::fmt::format(__VA_ARGS__)); \
  } while (false)
