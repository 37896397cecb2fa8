// A file that appears whole or not at all: written under a hidden name beside its place, synced,
// renamed, the folder synced.
// Rule: until the rename the old file is untouched; on any error the hidden file is removed. A
// failed fsync is a failure for good: the kernel drops the dirty pages after reporting it once, so
// asking again would be answered with a false success.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tessera {

// Replaces (or creates) the file at `path` with the pieces, one after another. When it returns, the
// new file survives a power cut. An Error names the file and the system's reason; `path` must not
// name something other than a regular file (a device, a folder).
void write_file_atomically(const std::string& path, std::span<const std::string_view> pieces);
void write_file_atomically(const std::string& path, std::string_view bytes);

// Removes the hidden files that killed writers left in `folder`; returns how many. Only for whoever
// holds the folder's lock: a living writer's file looks the same.
int remove_leftovers(const std::string& folder);

}  // namespace tessera
