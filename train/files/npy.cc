// "\x93NUMPY", version, length of the header, a Python dictionary padded to 64 bytes, the data.
#include "train/files/npy.h"

#include <array>
#include <string_view>

#include "engine/error.h"
#include "engine/raw.h"
#include "train/files/atomic_file.h"

namespace tessera {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kPrefix = 10;  // magic, version, length

const char* numpy_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "<f4";
    case DType::kF64:
      return "<f8";
    case DType::kI64:
      return "<i8";
    default:
      throw Error(fmt::format("[write_npy] {} is not written", name_of(dtype)));
  }
}

}  // namespace

void write_npy(const std::string& path, const Tensor& x) {
  std::string shape;
  for (const int64_t size : x.shape()) shape += fmt::format("{}, ", size);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                   numpy_name(x.dtype()), shape);
  header.resize((kPrefix + header.size() + 1 + kAlign - 1) / kAlign * kAlign - kPrefix - 1, ' ');
  header += '\n';
  const std::string prefix = {'\x93',
                              'N',
                              'U',
                              'M',
                              'P',
                              'Y',
                              1,
                              0,
                              static_cast<char>(header.size() & 0xFF),
                              static_cast<char>(header.size() >> 8)};
  const Tensor dense = raw::contiguous(raw::to(x, Device::kCpu));
  const std::array<std::string_view, 3> pieces = {
      prefix, header,
      std::string_view(static_cast<const char*>(dense.view().data),
                       static_cast<size_t>(dense.numel()) * size_of(dense.dtype()))};
  write_file_atomically(path, pieces);
}

}  // namespace tessera
