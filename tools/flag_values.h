// Values of flags as text: reading what CLI11 does not know, writing what configuration files hold.
// Rule: a value that cannot be read is a UsageError that names its flag and repeats the value.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <istream>
#include <string>
#include <type_traits>
#include <vector>

namespace tessera {

using Texts = std::vector<std::string>;

// Refuses a number below zero, which CLI11 would wrap round for an unsigned value.
CLI::Validator not_negative();

// --images: how many pictures of a set to look at, spread over it (spread_over() of
// train/picture_batches.h); 1 to `most`, 0 of it: any. Where the flag is not given *images stays:
// -1 is all of them.
CLI::Option* add_images(CLI::App& app, int64_t* images, const std::string& what, int64_t most = 0,
                        const std::string& flag = "--images");

// Two numbers in two words.
std::array<double, 2> two_numbers(const std::string& flag, const Texts& words);

// "224" or "96x128": height, width.
std::array<int64_t, 2> image_size_from(const std::string& flag, const std::string& text);
std::string image_size_text(int64_t height, int64_t width);

// --mean and --std: one number a channel, one for all, or the word imagenet or cifar. A grey
// picture takes the average of the three.
std::vector<float> mean_from(const Texts& words, int64_t channels);
std::vector<float> std_from(const Texts& words, int64_t channels);

// What a user would type for the value. Empty for a negative number: "not set", where allowed.
template <class T>
Texts texts_of(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return {value};
  } else if constexpr (std::is_same_v<T, bool>) {
    return {value ? "true" : "false"};
  } else if constexpr (std::is_arithmetic_v<T>) {
    return value < T{0} ? Texts{} : Texts{fmt::format("{}", value)};
  } else {
    Texts texts;
    for (const auto& element : value) texts.push_back(fmt::format("{}", element));
    return texts;
  }
}

// The value in a configuration file: 4, "vit_tiny", [0.9, 0.95].
std::string config_value(const Texts& texts);

// A configuration file's text without its comments. CLI11's own reader takes a '#' inside quotes
// for one and would cut a path there; it is told of no comments.
std::string without_comments(std::istream& file);

}  // namespace tessera
