// OpenBLAS where the machine has it, opened at run time: a yardstick for benchmarks.
// Rule: never linked and never needed; the program is the same without it.
#pragma once

namespace tessera::cpu {

struct OpenBlas {
  static constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;  // as <cblas.h> has them

  // cblas_sgemm: order, the two transpositions, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc.
  void (*sgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                float*, int);
  void (*set_num_threads)(int);  // nullptr in a build without threads
};

// nullptr where the library is missing. It is opened by the first call and stays.
const OpenBlas* openblas();

}  // namespace tessera::cpu
