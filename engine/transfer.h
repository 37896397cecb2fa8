// Transfer: a block of host memory on its way to a device, beside what the device computes.
// Rule: made by the thread that queues the device's work, and gone before the device's block is
// given back. In between any one thread fills host() and sends it; the bytes stay as they are from
// then on, and whoever queues work that reads the block calls arrive() first.
#pragma once

namespace tessera {

class Transfer {
 public:
  virtual ~Transfer() = default;  // waits for a copy that is under way
  // As many bytes as Backend::transfer was asked for, aligned to 64.
  virtual void* host() = 0;
  virtual void send() = 0;    // begins to copy; once
  virtual void arrive() = 0;  // what is queued from here on finds the bytes; after send()
};

}  // namespace tessera
