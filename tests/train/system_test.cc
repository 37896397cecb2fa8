// Signals, memory figures and terminals, in child processes where they would disturb the test.
#include "train/system.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/train/child.h"
#include "train/files/file_io.h"

namespace tessera {
namespace {

void send(int number) { kill(getpid(), number); }

// Whether the request is heard of, within two seconds.
bool is_heard() {
  for (int i = 0; i < 200 && !stop_requested(); ++i) usleep(10'000);
  return stop_requested();
}

TEST_CASE("the first signal asks, the second ends the process") {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(number);
    CHECK(in_child([&] {
            signal(number, SIG_DFL);
            listen_for_stop();
            if (stop_requested()) return 1;
            send(number);
            return is_heard() ? 0 : 2;
          }) == 0);
    CHECK(in_child([&] {
            signal(number, SIG_DFL);
            listen_for_stop();
            send(number);
            if (!is_heard()) return 1;
            usleep(400'000);
            send(number);
            usleep(2'000'000);
            return 0;
          }) == 128 + number);
    // `timeout` sends its signal twice within microseconds and means it once.
    CHECK(in_child([&] {
            signal(number, SIG_DFL);
            listen_for_stop();
            send(number);
            if (!is_heard()) return 1;
            send(number);
            usleep(100'000);
            return 0;
          }) == 0);
  }
}

TEST_CASE("while nobody listens a signal does what it always does") {
  CHECK(in_child([] {
          signal(SIGINT, SIG_IGN);
          watch_stop_signals();
          send(SIGINT);
          usleep(100'000);
          return stop_requested() ? 1 : 0;
        }) == 0);
  CHECK(in_child([] {
          signal(SIGINT, SIG_DFL);
          watch_stop_signals();
          send(SIGINT);
          usleep(5'000'000);
          return 0;
        }) == -SIGINT);
}

TEST_CASE("an interrupt is taken where the shell ignores it, a hang-up under nohup is not") {
  CHECK(in_child([] {
          signal(SIGINT, SIG_IGN);  // as for a command put into the background by a script
          signal(SIGHUP, SIG_IGN);
          listen_for_stop();
          send(SIGHUP);
          usleep(100'000);
          if (stop_requested()) return 1;
          send(SIGINT);
          return is_heard() ? 0 : 2;
        }) == 0);
}

TEST_CASE("the person who pressed Ctrl-C is told at once") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const FileDescriptor read_end(ends[0]);
  FileDescriptor write_end(ends[1]);
  CHECK(in_child([&] {
          dup2(write_end.get(), STDERR_FILENO);
          listen_for_stop();
          send(SIGINT);
          return is_heard() ? 0 : 1;
        }) == 0);
  write_end.close();
  char text[200] = {};
  REQUIRE(read(read_end.get(), text, sizeof(text) - 1) > 0);
  CHECK(std::string(text).find("after this step") != std::string::npos);
}

TEST_CASE("memory figures are plausible") {
  const int64_t before = peak_memory_bytes();
  CHECK(before > 1 << 20);
  std::vector<char> block(size_t{64} << 20, 1);
  CHECK(block[block.size() / 2] == 1);
  CHECK(peak_memory_bytes() >= before + (32 << 20));
  const int64_t available = available_memory_bytes();
  CHECK(available > 0);
  CHECK(available < int64_t{1} << 50);
}

TEST_CASE("a file is no terminal, a terminal knows its width") {
  const FileDescriptor file(open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK_FALSE(is_terminal(file.get()));
  CHECK(terminal_width(file.get()) == 80);
  const FileDescriptor terminal(posix_openpt(O_RDWR | O_NOCTTY));
  if (!terminal.is_open()) {
    WARN("skipped: no pseudo-terminals here");
    return;
  }
  struct winsize size = {};
  size.ws_col = 123;
  REQUIRE(ioctl(terminal.get(), TIOCSWINSZ, &size) == 0);
  CHECK(is_terminal(terminal.get()));
  CHECK(terminal_width(terminal.get()) == 123);
}

}  // namespace
}  // namespace tessera
