// golden DIR [--device NAME]: every case of a folder of golden numbers; see golden.h.
#include "tests/golden/golden.h"

int main(int argc, char** argv) { return tessera::golden::main(argc, argv); }
