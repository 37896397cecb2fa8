// <jpeglib.h>, which needs <cstdio> before it: an order that the formatter would turn round.
// Rule: only decode_jpeg.cc and encode.cc include this.
#pragma once

// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on
