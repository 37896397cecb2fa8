// The loss scale: what a clean run and an overflow make of it.
#include "train/grad_scaler.h"

#include <catch2/catch.hpp>

namespace tessera {
namespace {

TEST_CASE("only f16 scales its loss") {
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    GradScaler scaler(precision);
    CHECK(scaler.scale() == 1);
    CHECK_FALSE(scaler.can_back_off());
    scaler.update(false);
    CHECK(scaler.scale() == 1);
  }
  CHECK(GradScaler(DType::kF16).scale() == 65536);
}

TEST_CASE("2000 clean updates double the scale, an overflow halves it and starts the count again") {
  GradScaler scaler(DType::kF16);
  for (int i = 0; i < 1999; ++i) scaler.update(true);
  CHECK(scaler.scale() == 65536);
  scaler.update(true);
  CHECK(scaler.scale() == 2 * 65536);
  for (int i = 0; i < 1999; ++i) scaler.update(true);
  scaler.update(false);
  CHECK(scaler.scale() == 65536);
  for (int i = 0; i < 1999; ++i) scaler.update(true);
  CHECK(scaler.scale() == 65536);
  scaler.update(true);
  CHECK(scaler.scale() == 2 * 65536);
}

TEST_CASE("the scale does not fall below one, where backing off ends") {
  GradScaler scaler(DType::kF16);
  for (int i = 0; i < 16; ++i) {
    CHECK(scaler.can_back_off());
    scaler.update(false);
  }
  CHECK(scaler.scale() == 1);
  CHECK_FALSE(scaler.can_back_off());
}

TEST_CASE("a restored scaler goes on where the other stood") {
  GradScaler one(DType::kF16), other(DType::kF16);
  for (int i = 0; i < 1500; ++i) one.update(true);
  other.restore(one.scale(), one.clean_updates());
  for (int i = 0; i < 500; ++i) other.update(true);
  CHECK(other.scale() == 2 * 65536);
}

}  // namespace
}  // namespace tessera
