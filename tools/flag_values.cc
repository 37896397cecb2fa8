// Reading and writing the values of flags.
#include "tools/flag_values.h"

#include <charconv>
#include <cstdlib>

#include "data/loader.h"
#include "engine/error.h"

namespace tessera {
namespace {

double number(const std::string& flag, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  TESSERA_CHECK_USAGE(error == std::errc() && end == text.data() + text.size(),
                      "{}: '{}' is no number", flag, text);
  return value;
}

std::vector<float> channel_values(const std::string& flag, const Texts& words, int64_t channels,
                                  const std::array<float, 3>& imagenet,
                                  const std::array<float, 3>& cifar) {
  if (words.size() == 1 && (words[0] == "imagenet" || words[0] == "cifar")) {
    const std::array<float, 3>& known = words[0] == "cifar" ? cifar : imagenet;
    if (channels == 1) return {(known[0] + known[1] + known[2]) / 3};
    return {known.begin(), known.end()};
  }
  std::vector<float> values;
  for (const std::string& word : words) values.push_back(static_cast<float>(number(flag, word)));
  if (values.size() == 1 && channels > 0 && channels <= 3) {
    values.resize(static_cast<size_t>(channels), values[0]);
  }
  return values;
}

std::string quoted(const std::string& text) {
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  const bool is_number = !text.empty() && *end == '\0';
  if (is_number || text == "true" || text == "false") return text;
  return text.find('"') == text.npos ? '"' + text + '"' : "'" + text + "'";
}

}  // namespace

CLI::Validator not_negative() {
  return CLI::Validator(
      [](std::string& text) {
        return text.starts_with('-') ? text + " must not be negative" : std::string();
      },
      "");
}

CLI::Option* add_images(CLI::App& app, int64_t* images, const std::string& what, int64_t most,
                        const std::string& flag) {
  const auto fault = [most](const std::string& text) -> std::string {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return text + " is no number";
    if (most == 0) return value > 0 ? "" : text + " must be positive";
    return value > 0 && value <= most ? "" : fmt::format("{} is not in 1..{}", text, most);
  };
  return app.add_option(flag, *images, what)->check(CLI::Validator(fault, ""))->type_name("N");
}

std::array<double, 2> two_numbers(const std::string& flag, const Texts& words) {
  TESSERA_CHECK_USAGE(words.size() == 2, "{} wants two numbers, not {}", flag, words.size());
  return {number(flag, words[0]), number(flag, words[1])};
}

std::array<int64_t, 2> image_size_from(const std::string& flag, const std::string& text) {
  constexpr int64_t kLargest = 1 << 16;
  const auto side = [&](const std::string& digits) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    TESSERA_CHECK_USAGE(error == std::errc() && end == digits.data() + digits.size() &&
                            value >= 1 && value <= kLargest,
                        "{} {}: wanted N or HxW, in pixels from 1 to {}", flag, text, kLargest);
    return value;
  };
  const size_t cross = text.find('x');
  const int64_t height = side(text.substr(0, cross));
  return {height, cross == text.npos ? height : side(text.substr(cross + 1))};
}

std::string image_size_text(int64_t height, int64_t width) {
  return height == width ? fmt::format("{}", height) : fmt::format("{}x{}", height, width);
}

std::vector<float> mean_from(const Texts& words, int64_t channels) {
  return channel_values("--mean", words, channels, kImageNetMean, kCifarMean);
}

std::vector<float> std_from(const Texts& words, int64_t channels) {
  return channel_values("--std", words, channels, kImageNetStd, kCifarStd);
}

std::string config_value(const Texts& texts) {
  if (texts.size() == 1) return quoted(texts[0]);
  Texts all;
  for (const std::string& text : texts) all.push_back(quoted(text));
  return fmt::format("[{}]", fmt::join(all, ", "));
}

std::string without_comments(std::istream& file) {
  std::string text;
  for (std::string line; std::getline(file, line); text += line + '\n') {
    char quote = 0;
    for (size_t i = 0; i < line.size(); ++i) {
      if (quote != 0) {
        if (line[i] == quote) quote = 0;
      } else if (line[i] == '"' || line[i] == '\'') {
        quote = line[i];
      } else if (line[i] == '#') {
        line.resize(i);
      }
    }
  }
  return text;
}

}  // namespace tessera
