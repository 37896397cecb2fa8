// System calls for whole reads and writes, each failure an Error with the system's reason.
// Rule: an interrupted or partial call is continued here, so that no caller has to.
#include "train/files/file_io.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "engine/error.h"

namespace tessera {

bool FileDescriptor::close() {
  if (fd_ < 0) return true;
  // Linux frees the number even when close() fails, so it is never called twice.
  return ::close(std::exchange(fd_, -1)) == 0;
}

std::string error_reason(int error_number) { return std::generic_category().message(error_number); }

void write_all(int fd, std::span<const std::string_view> pieces, const std::string& path) {
  std::vector<iovec> left;
  size_t total = 0, written = 0;
  for (std::string_view piece : pieces) {
    if (piece.empty()) continue;
    left.push_back({const_cast<char*>(piece.data()), piece.size()});
    total += piece.size();
  }
  for (size_t next = 0; next < left.size();) {
    const size_t count = std::min<size_t>(left.size() - next, IOV_MAX);
    const ssize_t n = ::writev(fd, &left[next], static_cast<int>(count));
    if (n < 0 && errno == EINTR) continue;
    TESSERA_CHECK(n > 0, "cannot write {}: {} (after {} of {} bytes)", path,
                  n < 0 ? error_reason(errno) : "nothing was taken", written, total);
    written += static_cast<size_t>(n);
    size_t taken = static_cast<size_t>(n);
    for (; next < left.size() && taken >= left[next].iov_len; ++next) taken -= left[next].iov_len;
    if (taken > 0) {
      left[next].iov_base = static_cast<char*>(left[next].iov_base) + taken;
      left[next].iov_len -= taken;
    }
  }
}

FileDescriptor open_for_append(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  TESSERA_CHECK(file.is_open(), "cannot write {}: {}", path, error_reason(errno));
  return file;
}

std::string read_file(const std::string& path, size_t max_bytes) {
  // Non-blocking, so that a named pipe is an error below and not a wait for ever.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  TESSERA_CHECK(file.is_open(), "cannot read {}: {}", path, error_reason(errno));
  struct stat info;
  TESSERA_CHECK(::fstat(file.get(), &info) == 0, "cannot read {}: {}", path, error_reason(errno));
  TESSERA_CHECK(S_ISREG(info.st_mode), "cannot read {}: it is not a regular file", path);
  const size_t size = static_cast<size_t>(info.st_size);
  TESSERA_CHECK(size <= max_bytes, "cannot read {}: {} bytes are more than the {} expected", path,
                size, max_bytes);
  std::string text(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t n = ::read(file.get(), text.data() + have, size - have);
    if (n < 0 && errno == EINTR) continue;
    TESSERA_CHECK(n >= 0, "cannot read {}: {}", path, error_reason(errno));
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  text.resize(have);
  return text;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void check_place_for_file(std::string_view flag, const std::string& path) {
  namespace fs = std::filesystem;
  const std::string folder = folder_of(path);
  std::error_code ignored;
  const bool there = fs::is_directory(folder, ignored) && !fs::is_directory(path, ignored);
  TESSERA_CHECK_USAGE(there && ::access(folder.c_str(), W_OK) == 0,
                      "{} {}: no file can be written there", flag, path);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace tessera
