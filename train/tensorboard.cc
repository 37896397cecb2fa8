// The four kinds of events we write, encoded by hand: a file version, a start, scalars, a picture.
// Rule: only the fields that TensorBoard reads; no protocol-buffer library.
#include "train/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <ctime>

#include "engine/error.h"

namespace tessera {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

// The raw little-endian bytes of a number.
template <class T>
std::string_view raw(const T& value) {
  static_assert(std::endian::native == std::endian::little);
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A checksum stored beside what it covers is masked: a CRC over data holding its own CRC is weak.
uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

// A protocol-buffer message under construction. Field types: 0 varint, 1 eight bytes, 2 bytes with
// their length, 5 four bytes.
class Message {
 public:
  Message& varint(int field, uint64_t value) {
    tag(field, 0);
    number(value);
    return *this;
  }
  Message& real64(int field, double value) {
    tag(field, 1);
    bytes_ += raw(value);
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    tag(field, 2);
    number(value.size());
    bytes_ += value;
    return *this;
  }
  Message& real32(int field, float value) {
    tag(field, 5);
    bytes_ += raw(value);
    return *this;
  }
  std::string_view text() const { return bytes_; }

 private:
  void tag(int field, int type) { number(static_cast<uint64_t>(field << 3 | type)); }
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

Message event(int64_t step) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  Message message;
  message.real64(1, now.count()).varint(2, static_cast<uint64_t>(step));
  return message;
}

// Now in seconds, or one more than the newest file's number: readers go through files by name.
int64_t next_file_number(const std::string& folder) {
  int64_t next = std::time(nullptr);
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with(kPrefix)) continue;
    int64_t number = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), number);
    next = std::max(next, number + 1);
  }
  return next;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (unsigned char byte : bytes) crc = crc >> 8 ^ kCrcTable[(crc ^ byte) & 0xff];
  return ~crc;
}

EventWriter::EventWriter(const std::string& folder, int64_t last_step)
    : path_(fmt::format("{}/{}{:010}", folder, kPrefix, next_file_number(folder))),
      file_(open_for_append(path_)) {
  write_event(event(0).bytes(3, "brain.Event:2").text());  // file_version
  // SessionLog{status: START}: of steps from this one on, only what comes after it is true.
  const Message start = Message().varint(1, 1);
  write_event(event(last_step + 1).bytes(7, start.text()).text());
}

void EventWriter::scalars(int64_t step, std::span<const std::pair<std::string, double>> values) {
  Message summary;
  for (const auto& [tag, value] : values) {
    const Message scalar = Message().bytes(1, tag).real32(2, static_cast<float>(value));
    summary.bytes(1, scalar.text());
  }
  write_event(event(step).bytes(5, summary.text()).text());
}

void EventWriter::png(int64_t step, const std::string& tag, int width, int height,
                      std::string_view png) {
  constexpr int kRgb = 3;
  const Message image = Message()
                            .varint(1, static_cast<uint64_t>(height))
                            .varint(2, static_cast<uint64_t>(width))
                            .varint(3, kRgb)
                            .bytes(4, png);
  const Message value = Message().bytes(1, tag).bytes(4, image.text());
  write_event(event(step).bytes(5, Message().bytes(1, value.text()).text()).text());
}

// A record: length, its masked checksum, the event, its masked checksum.
void EventWriter::write_event(std::string_view body) {
  const uint64_t length = body.size();
  const uint32_t length_crc = masked_crc(raw(length)), body_crc = masked_crc(body);
  const std::array<std::string_view, 4> pieces = {raw(length), raw(length_crc), body,
                                                  raw(body_crc)};
  write_all(file_.get(), pieces, path_);
}

}  // namespace tessera
