// Writing of metrics.jsonl, and what of it a resume keeps.
// Rule: one write a record; old records are never edited in place.
#include "train/metrics.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/error.h"
#include "train/files/atomic_file.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxMetricsText = size_t{4} << 30;

// The step of a record; -1 for a line that is none.
int64_t step_of(const Json& record) {
  if (!record.is_object()) return -1;
  const auto step = record.find("step");
  return step != record.end() && step->is_number_integer() ? step->get<int64_t>() : -1;
}

// Calls visit(line, record) for each record; a last line without its line end was not written in
// full.
template <class Visit>
void for_each_record(std::string_view text, const Visit& visit) {
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const std::string_view line = text.substr(begin, end - begin);
    const Json record = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (step_of(record) >= 0) visit(line, record);
  }
}

}  // namespace

std::string to_json(const MetricRecord& record) {
  std::string text = fmt::format("{{\"step\":{}", record.step);
  for (const auto& [name, value] : record.values) {
    text += ',' + Json(name).dump() + ':';
    text += std::isfinite(value) ? fmt::format("{}", value) : "null";
  }
  return text + '}';
}

std::vector<MetricRecord> read_metrics(const std::string& path) {
  std::vector<MetricRecord> records;
  for_each_record(read_file(path, kMaxMetricsText), [&](std::string_view, const Json& json) {
    MetricRecord record;
    record.step = step_of(json);
    for (const auto& [name, value] : json.items()) {
      if (name != "step" && value.is_number()) record.add(name, value.get<double>());
    }
    records.push_back(std::move(record));
  });
  return records;
}

MetricsLog::MetricsLog(const std::string& folder, int64_t last_step)
    : path_(folder + "/metrics.jsonl"), events_(folder, last_step) {
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    const std::string text = read_file(path_, kMaxMetricsText);
    std::string kept;
    for_each_record(text, [&](std::string_view line, const Json& record) {
      if (step_of(record) <= last_step) kept.append(line).push_back('\n');
    });
    if (kept != text) write_file_atomically(path_, kept);
  }
  file_ = open_for_append(path_);
}

void MetricsLog::log(const MetricRecord& record) {
  const std::string line = to_json(record) + '\n';
  const std::string_view piece = line;
  write_all(file_.get(), std::span(&piece, 1), path_);
  events_.scalars(record.step, record.values);
}

void MetricsLog::sync() {
  TESSERA_CHECK(::fsync(file_.get()) == 0, "cannot write {}: {}", path_, error_reason(errno));
}

}  // namespace tessera
