// Tensor: a strided window on shared storage, plus an opaque hook for autograd.
// Rule: copying a Tensor copies a handle, never elements. Nothing here computes: views and
// metadata only; arithmetic is in engine/raw.h (off the tape) and autograd/functions.h (on it).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/view.h"

namespace tessera {

class Backend;

// A block of device memory, given back to the backend's allocator when the last tensor lets go.
class Storage {
 public:
  Storage(Device device, size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device() const { return device_; }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // Counts in-place writes, so that a saved tensor notices that it was overwritten.
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

  // i64 values that were copied to a device are looked through on the host: whoever takes them for
  // indices need not wait for the device to know that they are good.
  void note_indices(const int64_t* values, int64_t count);
  // The same of values that a kernel makes: all of them will be in [0, n).
  void note_indices_below(int64_t n);
  // What is known of `other`, whose values were copied to all of this storage.
  void note_indices_of(const Storage& other);
  // Whether all are known to be in [0, n). Whoever records work that relies on the answer asks
  // still_known() before it is repeated on other values.
  bool known_below(int64_t n) const;
  // Whether known_below() would say yes again to all that it said yes to.
  bool still_known() const {
    return promised_ == kAny || (noted() && low_ >= 0 && high_ < promised_);
  }

 private:
  static constexpr uint64_t kNever = ~uint64_t{0};
  static constexpr int64_t kAny = INT64_MAX;

  bool noted() const { return noted_ == version_; }

  Device device_;
  void* data_;
  size_t bytes_;
  uint64_t version_ = 0;
  uint64_t noted_ = kNever;  // the version that low_ and high_ were true of
  int64_t low_ = 0, high_ = 0;
  mutable int64_t promised_ = kAny;  // the least n of known_below() that was affirmed
};

// What autograd hangs on a tensor; the engine only carries it.
struct AutogradMeta {
  virtual ~AutogradMeta() = default;
};

class Tensor {
 public:
  Tensor() = default;  // undefined: "no tensor" for optional arguments

  // Uninitialised, contiguous.
  static Tensor empty(const Shape& shape, DType dtype = DType::kF32, Device device = Device::kCpu);
  static Tensor zeros(const Shape& shape, DType dtype = DType::kF32, Device device = Device::kCpu);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::kF32,
                     Device device = Device::kCpu);
  // Copies host values; values.size() must equal the shape's element count.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = Device::kCpu) {
    return from_host(values.data(), values.size(), DTypeOf<T>::value, shape, device);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape,
                     Device device = Device::kCpu) {
    return from(std::span<const T>(values), shape, device);
  }
  // A window on existing storage; bounds are checked.
  static Tensor window(std::shared_ptr<Storage> storage, int64_t offset, const Shape& shape,
                       const Strides& strides, DType dtype);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl_->shape; }
  const Strides& strides() const { return impl_->strides; }
  int ndim() const { return impl_->shape.size(); }
  int64_t size(int64_t dim) const { return shape()[normalize_dim("size", dim, ndim())]; }
  int64_t numel() const { return impl_->numel; }
  DType dtype() const { return impl_->dtype; }
  Device device() const { return impl_->storage->device(); }
  int64_t offset() const { return impl_->offset; }  // elements from the storage's start
  bool is_contiguous() const { return impl_->contiguous; }
  const std::shared_ptr<Storage>& storage() const { return impl_->storage; }
  View view() const;  // plain data for a backend call
  Backend& backend() const;

  // Host pointer to the first element. Error unless contiguous, on the CPU and of type T.
  template <class T>
  T* data() const {
    return static_cast<T*>(host_data(DTypeOf<T>::value));
  }
  // All elements in row-major order, from any device and layout. Error unless of type T.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> out(static_cast<size_t>(numel()));
    copy_to_host(out.data(), DTypeOf<T>::value);
    return out;
  }
  // The one element of a one-element tensor, as a double.
  double item() const;

  // The same storage under another shape and strides; no autograd history.
  Tensor with_layout(int64_t offset, const Shape& shape, const Strides& strides) const;
  // The same window without autograd history.
  Tensor detach() const { return with_layout(offset(), shape(), strides()); }
  // No other handle on this tensor and no other tensor on its storage: safe to overwrite.
  bool is_unshared() const { return impl_.use_count() == 1 && impl_->storage.use_count() == 1; }
  bool is_same(const Tensor& other) const { return impl_ == other.impl_; }

  const std::shared_ptr<AutogradMeta>& autograd_meta() const { return impl_->autograd; }
  void set_autograd_meta(std::shared_ptr<AutogradMeta> meta) const {
    impl_->autograd = std::move(meta);
  }

 private:
  struct Impl {
    std::shared_ptr<Storage> storage;
    int64_t offset = 0;
    Shape shape;
    Strides strides;
    int64_t numel = 0;
    DType dtype = DType::kF32;
    bool contiguous = true;
    std::shared_ptr<AutogradMeta> autograd;
  };

  static Tensor from_host(const void* values, size_t count, DType dtype, const Shape& shape,
                          Device device);
  void* host_data(DType dtype) const;
  void copy_to_host(void* out, DType dtype) const;

  std::shared_ptr<Impl> impl_;
};

// "f32 (2, 3)" for error messages; "undefined" where there is none.
std::string describe(const Tensor& t);

// The values, rows aligned and the middle of long dimensions left out; engine/print.cc.
std::string to_string(const Tensor& t);

}  // namespace tessera
