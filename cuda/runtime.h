// The little that the backend asks of the CUDA runtime, without its headers: memory, copies, one
// stream, and what the device is.
// Rule: runtime.cc answers with the toolkit, emulator/runtime.cc with the host; whoever includes
// this file must work with either.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "engine/backend.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace tessera::cuda {

using Stream = CUstream_st*;

// Why kernels cannot run on this machine, in a few words; empty when they can.
std::string why_unavailable();
std::string device_name();  // one line for `tessera info`
int multiprocessors();
size_t most_shared_bytes();  // shared memory, static and dynamic, that a block may ask for

// Everything is queued on this stream, in the order of the calls.
Stream stream();
void synchronize();  // waits for the stream; an Error when a kernel failed

void* device_allocate(size_t bytes);  // nullptr when out of memory
void device_free(void* block);
// Queued when it returns, and the host's memory is free to change.
void copy_from_host(void* device, const void* host, size_t bytes);
// Complete when it returns.
void copy_to_host(void* host, const void* device, size_t bytes);
std::unique_ptr<HostCopy> host_copy(size_t bytes);
std::unique_ptr<Moment> moment();  // on the stream

// From here on what this thread queues is recorded and not done, and whatever waits for the device
// or copies from the host is an Error. Thrown away unless finish() was called.
class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  std::unique_ptr<Graph> finish();
};

// An Error that says where the launch stands, unless `error` is cudaSuccess (0).
void check_launch(int error, const char* file, int line);

// Device memory for the length of a call, out of the backend's own cache. Kernels that use it are
// queued before the next owner's, so it may be given back as soon as they are launched.
class Scratch {
 public:
  explicit Scratch(size_t bytes)
      : bytes_(bytes), data_(backend(Device::kCuda).allocator().allocate(bytes)) {}
  ~Scratch() { backend(Device::kCuda).allocator().release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  size_t bytes_;
  void* data_;
};

}  // namespace tessera::cuda
