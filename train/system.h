// What the trainer asks of the operating system: memory figures, Ctrl-C, terminals.
// Rule: a question never fails; what the system does not tell is 0 and said so. Only the two
// functions about signals change anything.
#pragma once

#include <cstdint>

namespace tessera {

// The largest resident memory of this process so far, in bytes.
int64_t peak_memory_bytes();

// What this process can still take before the kernel swaps or kills: the least of the machine's
// available memory and what its control groups leave. 0 when the system does not say.
int64_t available_memory_bytes();

// From here on a thread of its own takes SIGINT, SIGTERM and SIGHUP, and this thread and those it
// starts block them: to be called first of all, before there are other threads. Until somebody
// listens the signals do what they always do. A SIGHUP that is ignored (nohup) stays ignored.
void watch_stop_signals();

// From here on the first of those signals only makes stop_requested() true (and says so on stderr):
// the step in progress is finished and saved. A second one, 0.3 s later or more, ends the process
// at once with 128 + its number. SIGXFSZ is ignored, so that a file-size limit is a failed write
// with a reason and not a death.
void listen_for_stop();

bool stop_requested();

bool is_terminal(int fd);

// Columns of the terminal, 80 when it does not say.
int terminal_width(int fd);

}  // namespace tessera
