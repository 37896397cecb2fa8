// The folder of one run (OUT): its lock, its checkpoints by step, its settings and lists.
// Rule: one writer at a time, and no checkpoint is removed before enough newer ones are whole on
// the disk. What a checkpoint contains is not this file's business.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/files/file_io.h"

namespace tessera {

struct CheckpointFile {
  int64_t step = 0;  // finished steps
  std::string path;
};

// Checkpoints in a folder, newest first, by name alone (step-00000012.safetensors). No lock needed.
std::vector<CheckpointFile> list_checkpoints(const std::string& folder);

// The newest checkpoint that is a whole safetensors file. Those passed over are added to `broken`
// (if given), one line each with the reason. No lock needed.
std::optional<CheckpointFile> newest_whole_checkpoint(const std::string& folder,
                                                      std::vector<std::string>* broken = nullptr);

// The run's folder, held for writing until the object dies (or the process: the kernel drops the
// lock). What killed runs left half-written is removed on entry.
class RunFolder {
 public:
  enum class Start {
    kNew,     // creates the folder; refused when it already holds a run
    kResume,  // the folder must exist
  };
  // A UsageError says why the folder cannot be had: not to be created, not writable, in use by
  // another run, already holding one.
  RunFolder(const std::string& path, Start start);

  const std::string& path() const { return path_; }
  std::string checkpoint_path(int64_t step) const;
  std::string metrics_path() const { return path_ + "/metrics.jsonl"; }
  std::string config_path() const { return path_ + "/config.toml"; }
  std::string broken_files_path() const { return path_ + "/broken_files.txt"; }

  // Removes the oldest checkpoints until `keep` whole ones (at least 1) are left. Call it after a
  // save; a file that is not whole counts for nothing and goes once `keep` newer ones are whole.
  void prune(int keep) const;

  // Adds lines ("path: reason") to broken_files.txt, which stays sorted and holds each line once.
  void add_broken_files(std::span<const std::string> lines) const;

 private:
  std::string path_;
  FileDescriptor lock_;
};

}  // namespace tessera
