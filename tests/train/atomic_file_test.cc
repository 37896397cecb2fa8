// Atomic writes under faults: a full disk, a limit, a failing fsync or rename. The C library's
// calls are replaced by ones that can be told to fail and note the order in which they come.
#include "train/files/atomic_file.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/train/child.h"
#include "tests/train/temp_folder.h"
#include "train/files/file_io.h"
#include "train/system.h"

namespace {

struct Calls {
  std::string order;
  int fail_fsync_of_file = 0, fail_fsync_of_folder = 0, fail_rename = 0;  // errno values
} calls;

bool is_folder(int fd) {
  struct stat info = {};
  return fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

int fail(int error_number) {
  errno = error_number;
  return -1;
}

}  // namespace

extern "C" int fsync(int fd) {
  const bool folder = is_folder(fd);
  calls.order += folder ? " sync-folder" : " sync-file";
  const int wanted = folder ? calls.fail_fsync_of_folder : calls.fail_fsync_of_file;
  return wanted != 0 ? fail(wanted) : static_cast<int>(syscall(SYS_fsync, fd));
}

extern "C" int rename(const char* from, const char* to) noexcept {
  calls.order += " rename";
  if (calls.fail_rename != 0) return fail(calls.fail_rename);
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

namespace tessera {
namespace {

using Catch::Contains;

TEST_CASE("a file is synced, renamed and its folder synced, in this order and once each") {
  const TempFolder folder;
  calls = {};
  write_file_atomically(folder.file("a"), "new");
  CHECK(calls.order == " sync-file rename sync-folder");
  CHECK(slurp(folder.file("a")) == "new");
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST_CASE("the file is readable by whom the umask allows") {
  const TempFolder folder;
  calls = {};
  const mode_t old_mask = umask(022);
  write_file_atomically(folder.file("a"), "x");
  umask(old_mask);
  struct stat info = {};
  REQUIRE(stat(folder.file("a").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0644);
}

TEST_CASE("a failing step leaves the old file and no other, and is not tried again") {
  const TempFolder folder;
  calls = {};
  write_file_atomically(folder.file("a"), "old");
  calls = {};
  SECTION("fsync of the file") {
    calls.fail_fsync_of_file = EIO;
    const std::string text = error_of([&] { write_file_atomically(folder.file("a"), "new"); });
    CHECK_THAT(text, Contains(folder.file("a")) && Contains("Input/output error"));
    CHECK(calls.order == " sync-file");
  }
  SECTION("rename") {
    calls.fail_rename = EACCES;
    const std::string text = error_of([&] { write_file_atomically(folder.file("a"), "new"); });
    CHECK_THAT(text, Contains(folder.file("a")) && Contains("Permission denied"));
    CHECK(calls.order == " sync-file rename");
  }
  CHECK(slurp(folder.file("a")) == "old");
  CHECK(folder.names() == std::vector<std::string>{"a"});
  calls = {};
}

TEST_CASE("a folder that cannot be synced is an error, except where no file system can") {
  const TempFolder folder;
  calls = {};
  calls.fail_fsync_of_folder = EIO;
  CHECK_THAT(error_of([&] { write_file_atomically(folder.file("a"), "new"); }),
             Contains("durable") && Contains("Input/output error"));
  calls = {};
  calls.fail_fsync_of_folder = EINVAL;
  write_file_atomically(folder.file("b"), "new");
  CHECK(slurp(folder.file("b")) == "new");
  calls = {};
}

TEST_CASE("places where no file can be") {
  const TempFolder folder;
  calls = {};
  spill(folder.file("file"), "x");
  CHECK_THAT(error_of([&] { write_file_atomically(folder.file("none/a"), "x"); }),
             Contains("none/a: No such file"));
  CHECK_THAT(error_of([&] { write_file_atomically(folder.file("file/a"), "x"); }),
             Contains("Not a directory"));
  CHECK_THAT(error_of([&] { write_file_atomically(folder.path(), "x"); }),
             Contains("regular file"));
  CHECK_THAT(error_of([&] { write_file_atomically("/dev/null", "x"); }), Contains("regular file"));
  CHECK_THAT(error_of([&] { write_file_atomically("/proc/nowhere", "x"); }),
             Contains("/proc/nowhere: "));
  CHECK(folder.names() == std::vector<std::string>{"file"});
}

TEST_CASE("a device that is always full") {
  const FileDescriptor full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full.is_open());
  const std::string_view pieces[] = {"abc", "", "defg"};
  CHECK_THAT(error_of([&] { write_all(full.get(), pieces, "the file"); }),
             Contains("cannot write the file: No space left on device (after 0 of 7 bytes)"));
}

bool keeps_old_file(const std::string& path, const std::string& reason) {
  try {
    write_file_atomically(path, std::string(4 << 20, 'n'));
    return false;
  } catch (const Error& error) {
    const std::string text = error.what();
    const auto files = std::filesystem::directory_iterator(folder_of(path));
    return text.find(path) != text.npos && text.find(reason) != text.npos && slurp(path) == "old" &&
           std::distance(begin(files), end(files)) == 1;
  }
}

TEST_CASE("a file-size limit is an error with a reason, the old file stays") {
  const TempFolder folder;
  calls = {};
  write_file_atomically(folder.file("a"), "old");
  const int status = in_child([&] {
    listen_for_stop();  // SIGXFSZ would kill
    const rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    return keeps_old_file(folder.file("a"), "File too large") ? 0 : 1;
  });
  CHECK(status == 0);
}

TEST_CASE("a full disk is an error with a reason, the old file stays") {
  const TempFolder folder;
  constexpr int kNotPermitted = 77;
  const int status = in_child([&] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
      return kNotPermitted;
    }
    calls = {};
    write_file_atomically(folder.file("a"), "old");
    return keeps_old_file(folder.file("a"), "No space left on device") ? 0 : 1;
  });
  if (status == kNotPermitted) {
    WARN("skipped: this process may not mount a small file system");
    return;
  }
  CHECK(status == 0);
}

TEST_CASE("what a killed writer leaves is removed, all else stays") {
  const TempFolder folder;
  calls = {};
  const int status = in_child([&] {
    const rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);  // SIGXFSZ kills it in the middle of the write
    signal(SIGXFSZ, SIG_DFL);
    write_file_atomically(folder.file("a"), std::string(2 << 20, 'n'));
    return 0;
  });
  CHECK(status == -SIGXFSZ);
  REQUIRE(folder.names().size() == 1);
  CHECK(folder.names()[0].starts_with(".a."));
  spill(folder.file(".hidden"), "mine");
  spill(folder.file("b.tessera-partial"), "mine");
  CHECK(remove_leftovers(folder.path()) == 1);
  CHECK(folder.names() == std::vector<std::string>{".hidden", "b.tessera-partial"});
  CHECK(remove_leftovers(folder.file("none")) == 0);
}

TEST_CASE("reading a file has a limit and reasons") {
  const TempFolder folder;
  spill(folder.file("a"), "12345");
  CHECK(read_file(folder.file("a"), 5) == "12345");
  CHECK_THAT(error_of([&] { read_file(folder.file("a"), 4); }), Contains("5 bytes"));
  CHECK_THAT(error_of([&] { read_file(folder.path(), 9); }), Contains("regular file"));
  CHECK_THAT(error_of([&] { read_file(folder.file("b"), 9); }), Contains("No such file"));
  CHECK(folder_of("a") == ".");
  CHECK(folder_of("a/b") == "a");
  CHECK(folder_of("/b") == "/");
}

}  // namespace
}  // namespace tessera
