// From an op of the table to its functor: visit_op(op, visit) calls visit(functors::Name{}).
// Rule: the lists of engine/elementwise.h are the only place that names ops; a backend's kernels
// are templates over a functor, and this is the one switch that chooses among them.
#pragma once

#include "engine/elementwise.h"

namespace tessera {

#define TESSERA_VISIT_UNARY(Name, ...) \
  case UnaryOp::k##Name:               \
    return visit(functors::Name{});
#define TESSERA_VISIT_BINARY(Name, ...) \
  case BinaryOp::k##Name:               \
    return visit(functors::Name{});
#define TESSERA_VISIT_COMPARE(Name, ...) \
  case CompareOp::k##Name:               \
    return visit(functors::Name{});

template <class Visitor>
void visit_op(UnaryOp op, Visitor&& visit) {
  switch (op) {
    TESSERA_UNARY_OPS(TESSERA_VISIT_UNARY)
    TESSERA_UNARY_OPS_1(TESSERA_VISIT_UNARY)
    TESSERA_UNARY_OPS_2(TESSERA_VISIT_UNARY)
  }
}

template <class Visitor>
void visit_op(BinaryOp op, Visitor&& visit) {
  switch (op) { TESSERA_BINARY_OPS(TESSERA_VISIT_BINARY) }
}

template <class Visitor>
void visit_op(CompareOp op, Visitor&& visit) {
  switch (op) { TESSERA_COMPARE_OPS(TESSERA_VISIT_COMPARE) }
}

#undef TESSERA_VISIT_UNARY
#undef TESSERA_VISIT_BINARY
#undef TESSERA_VISIT_COMPARE

}  // namespace tessera
