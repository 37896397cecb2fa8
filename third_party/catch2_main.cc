// Catch2's main(), compiled once for all tests: the macro below costs seconds of compile time.
// Nothing else belongs here; a test that needs its own main() depends on //third_party:catch2.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
