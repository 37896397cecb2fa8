// TensorBoard event files: scalars and PNG pictures, in TensorFlow's record framing around
// hand-written protocol buffers (tensorflow/core/util/event.proto and framework/summary.proto).
// Rule: append only, one write a record. A resumed run opens a new file whose first event tells
// readers to forget what older files say of later steps; old files are not touched.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "train/files/file_io.h"

namespace tessera {

// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t crc32c(std::string_view bytes);

class EventWriter {
 public:
  // Creates `folder`/events.out.tfevents.SECONDS, named to sort after those that are there.
  // last_step: finished steps that stay; what older files hold beyond it is void.
  EventWriter(const std::string& folder, int64_t last_step);

  void scalars(int64_t step, std::span<const std::pair<std::string, double>> values);  // as f32
  void png(int64_t step, const std::string& tag, int width, int height, std::string_view png);

 private:
  void write_event(std::string_view body);

  std::string path_;
  FileDescriptor file_;
};

}  // namespace tessera
