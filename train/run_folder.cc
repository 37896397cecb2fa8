// Lock, listing and pruning of a run's folder.
// Rule: the lock is the kernel's (flock), so a killed process holds none.
#include "train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <set>
#include <sstream>
#include <system_error>

#include "engine/error.h"
#include "train/files/atomic_file.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kEnding = ".safetensors";
constexpr size_t kMaxBrokenFilesText = size_t{1} << 30;

// -1 when the name is not a checkpoint's.
int64_t step_of(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kEnding)) return -1;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kEnding.size());
  int64_t step = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() ? step : -1;
}

// Takes the lock without waiting. The process number in the file is for the message only.
FileDescriptor lock_folder(const std::string& path) {
  const std::string name = path + "/.lock";
  FileDescriptor lock(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  TESSERA_CHECK_USAGE(lock.is_open(), "cannot write in the run's folder {}: {}", path,
                      error_reason(errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    TESSERA_CHECK_USAGE(reason == EWOULDBLOCK, "cannot lock the run's folder {}: {}", path,
                        error_reason(reason));
    char owner[32] = {};
    const ssize_t n = ::pread(lock.get(), owner, sizeof(owner) - 1, 0);
    throw UsageError(
        fmt::format("{} is in use by another run (process {})", path, n > 0 ? owner : "unknown"));
  }
  const std::string owner = std::to_string(::getpid());
  const bool noted =
      ::ftruncate(lock.get(), 0) == 0 &&
      ::pwrite(lock.get(), owner.data(), owner.size(), 0) == static_cast<ssize_t>(owner.size());
  TESSERA_CHECK(noted, "cannot write in the run's folder {}: {}", path, error_reason(errno));
  return lock;
}

}  // namespace

std::vector<CheckpointFile> list_checkpoints(const std::string& folder) {
  std::vector<CheckpointFile> files;
  for (const std::string& name : names_in(folder)) {
    const int64_t step = step_of(name);
    if (step >= 0) files.push_back({step, folder + "/" + name});
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.step > b.step; });
  return files;
}

std::optional<CheckpointFile> newest_whole_checkpoint(const std::string& folder,
                                                      std::vector<std::string>* broken) {
  for (const CheckpointFile& file : list_checkpoints(folder)) {
    try {
      SafetensorsReader whole(file.path);
      return file;
    } catch (const Error& error) {
      if (broken != nullptr) broken->push_back(error.what());
    }
  }
  return std::nullopt;
}

RunFolder::RunFolder(const std::string& path, Start start) : path_(path) {
  std::error_code error;
  if (start == Start::kResume) {
    TESSERA_CHECK_USAGE(fs::is_directory(path, error), "cannot resume: there is no folder {}",
                        path);
  } else {
    fs::create_directories(path, error);
    TESSERA_CHECK_USAGE(!error, "cannot create the run's folder {}: {}", path, error.message());
  }
  lock_ = lock_folder(path);
  if (start == Start::kNew) {
    const auto metrics = fs::file_size(metrics_path(), error);
    const bool holds_run = !list_checkpoints(path).empty() || (!error && metrics > 0);
    TESSERA_CHECK_USAGE(!holds_run,
                        "{} already holds a run: add --resume to go on with it, or choose another "
                        "--out",
                        path);
  }
  remove_leftovers(path);
}

std::string RunFolder::checkpoint_path(int64_t step) const {
  return fmt::format("{}/{}{:08}{}", path_, kPrefix, step, kEnding);
}

void RunFolder::prune(int keep) const {
  TESSERA_CHECK(keep >= 1, "at least one checkpoint is kept, not {}", keep);
  int whole = 0;
  std::vector<std::string> old;  // newest first
  for (const CheckpointFile& file : list_checkpoints(path_)) {
    if (whole >= keep) {
      old.push_back(file.path);
      continue;
    }
    try {
      SafetensorsReader check(file.path);
      ++whole;
    } catch (const Error&) {
      // Not whole: counts for nothing and stays until `keep` newer ones are.
    }
  }
  std::for_each(old.rbegin(), old.rend(), [](const auto& name) { ::unlink(name.c_str()); });
}

void RunFolder::add_broken_files(std::span<const std::string> lines) const {
  std::set<std::string> all;
  std::error_code error;
  if (fs::exists(broken_files_path(), error)) {
    std::istringstream known(read_file(broken_files_path(), kMaxBrokenFilesText));
    for (std::string line; std::getline(known, line);) all.insert(line);
  }
  for (std::string line : lines) {
    std::replace(line.begin(), line.end(), '\n', ' ');  // a file's name may hold one
    all.insert(std::move(line));
  }
  std::string text;
  for (const std::string& line : all) text += line + '\n';
  write_file_atomically(broken_files_path(), text);
}

}  // namespace tessera
