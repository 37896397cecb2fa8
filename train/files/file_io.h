// Small things every file-writing room needs: an owned descriptor, the system's reason for a
// failure, a write that is whole or an error.
// Rule: a failed call is an Error that names the file and the system's reason, never a return value
// somebody can forget.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

// Owns a file descriptor; -1 is none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() { close(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  // False when the kernel reported an error (in errno); the descriptor is gone either way.
  bool close();

 private:
  int fd_ = -1;
};

// "No space left on device", for an errno value.
std::string error_reason(int error_number);

// Writes all pieces in order with as few system calls as possible (writev). An Error names `path`
// (which is only a name here), the reason and how far it came.
void write_all(int fd, std::span<const std::string_view> pieces, const std::string& path);

// Opens for appending, creating the file if need be.
FileDescriptor open_for_append(const std::string& path);

// The whole file as bytes. An Error when it cannot be read or is longer than max_bytes.
std::string read_file(const std::string& path, size_t max_bytes);

// Names of what lies in a folder, sorted; none when it cannot be read.
std::vector<std::string> names_in(const std::string& folder);

// UsageError that names the flag where no file can be made: no such folder, not ours to write in,
// or a folder itself. For commands that work long before they write.
void check_place_for_file(std::string_view flag, const std::string& path);

// The folder part of a path: "a/b" -> "a", "b" -> ".", "/b" -> "/".
std::string folder_of(const std::string& path);

}  // namespace tessera
