// The run's figures: metrics.jsonl, one JSON object a logged step, and TensorBoard events beside
// it. Rule: each step stands once. A record reaches the kernel before log() returns, so a killed
// process loses none; after a resume nothing of later steps is left.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "train/files/file_io.h"
#include "train/tensorboard.h"

namespace tessera {

// The figures of one step, in the order in which they are to be read.
struct MetricRecord {
  int64_t step = 0;  // finished steps
  std::vector<std::pair<std::string, double>> values;

  void add(std::string name, double value) { values.emplace_back(std::move(name), value); }
};

// {"step":12,"loss":0.5}: the shortest digits that read back as the same double; what is not finite
// becomes null. No line end.
std::string to_json(const MetricRecord& record);

// The records of a metrics.jsonl, in the file's order. Lines that are no record and figures that
// are no number are passed over. An Error when the file cannot be read.
std::vector<MetricRecord> read_metrics(const std::string& path);

class MetricsLog {
 public:
  // Opens `folder`/metrics.jsonl and a new event file. Records after last_step (0 for a new run,
  // the checkpoint's step for a resumed one) and lines that are no record (the half-written end of
  // a killed run) are dropped first, by an atomic rewrite.
  MetricsLog(const std::string& folder, int64_t last_step);

  // Appends the record to both files. An Error when the disk is full.
  void log(const MetricRecord& record);

  // Adds a picture to the event file. `png` is the encoded file.
  void log_png(int64_t step, const std::string& tag, int width, int height, std::string_view png) {
    events_.png(step, tag, width, height, png);
  }

  // Makes the records durable. Called before a checkpoint is saved, so that no checkpoint is newer
  // than the last record on the disk.
  void sync();

 private:
  std::string path_;
  FileDescriptor file_;
  EventWriter events_;
};

}  // namespace tessera
