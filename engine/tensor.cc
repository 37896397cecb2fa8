// Storage and the metadata side of Tensor.
#include "engine/tensor.h"

#include <algorithm>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {

Storage::Storage(Device device, size_t bytes)
    : device_(device), data_(backend(device).allocator().allocate(bytes)), bytes_(bytes) {}

Storage::~Storage() { backend(device_).allocator().release(data_, bytes_); }

void Storage::note_indices(const int64_t* values, int64_t count) {
  if (count == 0) return;
  const auto [low, high] = std::minmax_element(values, values + count);
  low_ = *low;
  high_ = *high;
  noted_ = version_;
}

void Storage::note_indices_below(int64_t n) {
  low_ = 0;
  high_ = n - 1;
  noted_ = version_;
}

void Storage::note_indices_of(const Storage& other) {
  if (!other.noted()) return;
  low_ = other.low_;
  high_ = other.high_;
  noted_ = version_;
}

bool Storage::known_below(int64_t n) const {
  const bool known = noted() && low_ >= 0 && high_ < n;
  if (known) promised_ = std::min(promised_, n);
  return known;
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  const int64_t n = numel_of(shape);
  TESSERA_CHECK(n < (int64_t{1} << 58), "a tensor of shape {} is too large", shape);
  std::shared_ptr<Storage> storage;
  try {
    storage = std::make_shared<Storage>(device, static_cast<size_t>(n) * size_of(dtype));
  } catch (const UsageError&) {
    throw;  // there is no such device
  } catch (const Error& error) {
    throw Error(
        fmt::format("{}, for {} {} on {}", error.what(), name_of(dtype), shape, name_of(device)));
  }
  return window(std::move(storage), 0, shape, contiguous_strides(shape), dtype);
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, 0.0, dtype, device);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  raw::fill_(t, value);
  return t;
}

Tensor Tensor::window(std::shared_ptr<Storage> storage, int64_t offset, const Shape& shape,
                      const Strides& strides, DType dtype) {
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  Impl& impl = *t.impl_;
  impl.numel = numel_of(shape);
  int64_t lowest = offset, highest = offset;
  int64_t expected = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    const int64_t reach = (shape[i] - 1) * strides[i];
    (reach < 0 ? lowest : highest) += shape[i] > 0 ? reach : 0;
    if (shape[i] != 1) impl.contiguous &= strides[i] == expected;
    expected *= shape[i];
  }
  if (impl.numel == 0) impl.contiguous = true;
  TESSERA_CHECK(
      impl.numel == 0 ||
          (lowest >= 0 && static_cast<size_t>(highest + 1) * size_of(dtype) <= storage->bytes()),
      "a window of shape {} strides {} at offset {} leaves its storage of {} bytes", shape, strides,
      offset, storage->bytes());
  impl.storage = std::move(storage);
  impl.offset = offset;
  impl.shape = shape;
  impl.strides = strides;
  impl.dtype = dtype;
  return t;
}

Tensor Tensor::with_layout(int64_t offset, const Shape& shape, const Strides& strides) const {
  return window(storage(), offset, shape, strides, dtype());
}

View Tensor::view() const {
  View v;
  v.data =
      static_cast<char*>(storage()->data()) + offset() * static_cast<int64_t>(size_of(dtype()));
  v.dtype = dtype();
  v.ndim = ndim();
  for (int i = 0; i < v.ndim; ++i) {
    v.shape[i] = shape()[i];
    v.stride[i] = strides()[i];
  }
  return v;
}

Backend& Tensor::backend() const { return tessera::backend(device()); }

Tensor Tensor::from_host(const void* values, size_t count, DType dtype, const Shape& shape,
                         Device device) {
  Tensor t = empty(shape, dtype, device);
  TESSERA_CHECK(static_cast<int64_t>(count) == t.numel(), "{} values do not fill shape {}", count,
                shape);
  if (count > 0) t.backend().copy_from_host(t.storage()->data(), values, count * size_of(dtype));
  if (dtype == DType::kI64 && device != Device::kCpu) {
    t.storage()->note_indices(static_cast<const int64_t*>(values), t.numel());
  }
  return t;
}

void* Tensor::host_data(DType dtype) const {
  TESSERA_CHECK(defined(), "data() of an undefined tensor");
  TESSERA_CHECK(dtype == impl_->dtype, "data<{}>() of a tensor {}", name_of(dtype),
                describe(*this));
  TESSERA_CHECK(device() == Device::kCpu && is_contiguous(),
                "data() needs a contiguous tensor on the cpu, this is {} on {}", describe(*this),
                name_of(device()));
  return view().data;
}

void Tensor::copy_to_host(void* out, DType dtype) const {
  TESSERA_CHECK(dtype == impl_->dtype, "to_vector<{}>() of a tensor {}", name_of(dtype),
                describe(*this));
  if (numel() == 0) return;
  const Tensor packed = raw::contiguous(*this);
  backend().copy_to_host(out, packed.view().data, static_cast<size_t>(numel()) * size_of(dtype));
}

double Tensor::item() const {
  TESSERA_CHECK(defined() && numel() == 1, "item() needs one element, this is {}", describe(*this));
  return visit_dtype(dtype(), [&](auto t) {
    using T = decltype(t);
    T value;
    copy_to_host(&value, dtype());
    return convert<double>(value);
  });
}

std::string describe(const Tensor& t) {
  if (!t.defined()) return "undefined";
  return fmt::format("{} {}", name_of(t.dtype()), t.shape());
}

}  // namespace tessera
