// Names and saved operands, read off the table.
#include "engine/elementwise.h"

namespace tessera {

#define TESSERA_NAME_CASE(Name, name, ...) \
  case Op::k##Name:                        \
    return #name;

const char* name_of(UnaryOp op) {
  using Op = UnaryOp;
  switch (op) {
    TESSERA_UNARY_OPS(TESSERA_NAME_CASE)
    TESSERA_UNARY_OPS_1(TESSERA_NAME_CASE)
    TESSERA_UNARY_OPS_2(TESSERA_NAME_CASE)
  }
  return "?";
}

const char* name_of(BinaryOp op) {
  using Op = BinaryOp;
  switch (op) { TESSERA_BINARY_OPS(TESSERA_NAME_CASE) }
  return "?";
}

const char* name_of(CompareOp op) {
  using Op = CompareOp;
  switch (op) { TESSERA_COMPARE_OPS(TESSERA_NAME_CASE) }
  return "?";
}

#define TESSERA_SAVES_CASE(Name, name, saves) \
  case UnaryOp::k##Name:                      \
    return Saves::saves;

Saves saves_of(UnaryOp op) {
  switch (op) {
    TESSERA_UNARY_OPS(TESSERA_SAVES_CASE)
    TESSERA_UNARY_OPS_1(TESSERA_SAVES_CASE)
    TESSERA_UNARY_OPS_2(TESSERA_SAVES_CASE)
  }
  return Saves::kInput;
}

}  // namespace tessera
