// Hidden file, fsync, rename, fsync of the folder: the four steps of a durable replacement.
// Rule: the order is the promise; nothing is left out to save time.
#include "train/files/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "engine/error.h"
#include "train/files/file_io.h"

namespace tessera {
namespace {

constexpr std::string_view kLeftoverEnding = ".tessera-partial";

// ".step-00000012.safetensors.4711.tessera-partial" in the same folder, hence on the same file
// system; the process number keeps two writers of one path apart.
std::string hidden_name(const std::string& path) {
  const std::filesystem::path place(path);
  const std::string name =
      fmt::format(".{}.{}{}", place.filename().string(), ::getpid(), kLeftoverEnding);
  return (place.parent_path() / name).string();
}

void sync_folder(const std::string& path) {
  const FileDescriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool synced = folder.is_open() && ::fsync(folder.get()) == 0;
  // EINVAL: a file system that knows no fsync for folders (some network mounts).
  TESSERA_CHECK(synced || errno == EINVAL, "cannot make {} durable: {}", path, error_reason(errno));
}

}  // namespace

void write_file_atomically(const std::string& path, std::span<const std::string_view> pieces) {
  struct stat info;
  TESSERA_CHECK(::stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode),
                "cannot write {}: it is not a regular file", path);
  const std::string hidden = hidden_name(path);
  FileDescriptor file(
      ::open(hidden.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  TESSERA_CHECK(file.is_open(), "cannot write {}: {}", path, error_reason(errno));
  try {
    write_all(file.get(), pieces, path);
    TESSERA_CHECK(::fsync(file.get()) == 0, "cannot write {}: {} (fsync)", path,
                  error_reason(errno));
    TESSERA_CHECK(file.close(), "cannot write {}: {} (close)", path, error_reason(errno));
    TESSERA_CHECK(::rename(hidden.c_str(), path.c_str()) == 0, "cannot write {}: {} (rename)", path,
                  error_reason(errno));
  } catch (...) {
    ::unlink(hidden.c_str());
    throw;
  }
  sync_folder(path);
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, std::span(&bytes, 1));
}

int remove_leftovers(const std::string& folder) {
  int removed = 0;
  for (const std::string& name : names_in(folder)) {
    if (name.starts_with(".") && name.ends_with(kLeftoverEnding)) {
      removed += ::unlink((folder + "/" + name).c_str()) == 0;
    }
  }
  return removed;
}

}  // namespace tessera
