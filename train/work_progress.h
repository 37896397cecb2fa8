// How far a command is with pieces of work that take a while: one line on a terminal that is drawn
// again and again and taken away at the end; elsewhere a line now and then.
// Rule: stderr alone; a result never waits for it.
#pragma once

#include <cstdint>
#include <string>

#include "train/progress.h"

namespace tessera {

class WorkProgress {
 public:
  // what: "pictures".
  WorkProgress(std::string what, int64_t total);
  ~WorkProgress();
  WorkProgress(const WorkProgress&) = delete;
  WorkProgress& operator=(const WorkProgress&) = delete;

  // So many are done.
  void operator()(int64_t done);

 private:
  std::string what_;
  int64_t total_;
  RateMeter meter_;
  bool terminal_;
  double next_ = 0;  // time of the next line, seconds
};

}  // namespace tessera
