// <jpeglib.h>, which needs <cstdio> before it, and the codes of its errors: an order that the
// formatter would turn round. Rule: only decode_jpeg.cc and the tests' encoder include this.
#pragma once

// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on
