// NumPy's .npy files (format 1.0): one array, for whoever goes on in Python.
#pragma once

#include <string>

#include "engine/tensor.h"

namespace tessera {

// Writes x (f32, f64 or i64, on the host) atomically and durably (atomic_file.h), row-major.
void write_npy(const std::string& path, const Tensor& x);

}  // namespace tessera
