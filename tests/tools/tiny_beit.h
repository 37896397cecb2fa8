// A tokenizer and a BEiT so small that a step takes a few milliseconds, for the tests of both.
#pragma once

#include <string>

#include "tests/tools/program.h"

namespace tessera {

inline Words tiny_tokenizer(const std::string& out, int steps) {
  return {"tokenizer",      "train",
          "--data",         "builtin:40",
          "--image-size",   "16",
          "--layers",       "2",
          "--vocab",        "24",
          "--width",        "8",
          "--codebook-dim", "8",
          "--batch-size",   "4",
          "--max-steps",    std::to_string(steps),
          "--augment",      "flip",
          "--out",          out};
}

// A tokenizer that others use, trained once, and with most of its codebook in use: one that has
// collapsed would make every picture's ids the same, and any mistake about them unseen.
inline const std::string& tokenizer() {
  static const TempFolder folder;
  static const std::string path = folder.file("tokenizer");
  static const Outcome outcome = run(
      tiny_tokenizer(path, 12) + Words{"--base-lr", "1", "--kl-weight", "1", "--eval-every", "6"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  REQUIRE(metrics_of(path).back().at("eval_codes_used") > 12);
  return path;
}

inline Words tiny_beit(const std::string& out, int steps) {
  return {"pretrain",     "beit",
          "--data",       "builtin:40",
          "--tokenizer",  tokenizer(),
          "--image-size", "16",
          "--patch-size", "2",
          "--arch",       "vit_tiny",
          "--dim",        "16",
          "--depth",      "2",
          "--heads",      "2",
          "--batch-size", "4",
          "--max-steps",  std::to_string(steps),
          "--augment",    "flip",
          "--eval-every", "0",
          "--out",        out};
}

}  // namespace tessera
