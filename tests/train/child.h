// A part of a test that must not touch the test's own process: limits, signals, mounts.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace tessera {

// Runs `body` in a child process; its result is the exit status, or minus the signal that ended it.
template <class Body>
int in_child(Body&& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace tessera
