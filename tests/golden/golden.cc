// Files, comparisons, and the walk over a folder.
#include "tests/golden/golden.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <vector>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera::golden {
namespace {

namespace fs = std::filesystem;

std::vector<double> values_of(const Tensor& t) {
  return raw::to(t.detach(), DType::kF64).to_vector<double>();
}

std::string fault_of_form(const Tensor& have, const Tensor& want) {
  if (!have.defined()) return "is missing";
  if (have.shape() == want.shape() && have.dtype() == want.dtype()) return "";
  return fmt::format("is {} for {}", describe(have), describe(want));
}

bool holds(const File& file, const std::string& part) {
  const auto& entries = file.reader().entries();
  return std::any_of(entries.begin(), entries.end(), [&](const SafetensorsEntry& e) {
    return e.name.find(part) != std::string::npos;
  });
}

// By the model's name in a file's metadata.
const std::map<std::string, void (*)(const File&, Device, Report&)> kRooms = {
    {"mae", run_mae},
    {"beit_pretrain", run_beit_pretraining},
    {"beit_classifier", run_beit_classifier},
    {"dvae", run_dvae},
    {"dalle_dvae_encoder", run_dalle_encoder},
};

// The room for a file: by the model its metadata names, else by how its tensors are called.
void run_file(const std::string& path, Device device, Report& report) {
  const File file(path);
  const Metadata& metadata = file.reader().metadata();
  if (const auto model = metadata.find("model"); model != metadata.end()) {
    const auto room = kRooms.find(model->second);
    if (room != kRooms.end()) {
      room->second(file, device, report);
    } else {
      report.skip(file.name(), "no room for the model " + model->second);
    }
  } else if (holds(file, "/in/")) {
    run_ops(file, device, report);
  } else if (holds(file, "/in")) {
    run_transforms(file, report);
  } else {
    report.skip(file.name(), "its tensors are of no kind that is known");
  }
}

bool is_case(const fs::path& path) {
  const std::string name = path.filename().string();
  return path.extension() == ".safetensors" ||
         (name.starts_with("block_mask_statistics") && path.extension() == ".json");
}

}  // namespace

File::File(const std::string& path) : name_(fs::path(path).filename().string()), reader_(path) {}

std::string File::sidecar() const { return fs::path(reader_.path()).replace_extension(".json"); }

Tensor File::tensor(const std::string& tensor, Device device) const {
  const SafetensorsEntry& entry = reader_.at(tensor);
  std::vector<std::byte> bytes(entry.bytes);
  reader_.read(entry, bytes);
  const Tensor t = Tensor::empty(entry.shape, entry.dtype, device);
  if (!bytes.empty()) t.backend().copy_from_host(t.view().data, bytes.data(), bytes.size());
  return t;
}

std::map<std::string, Tensor> File::under(const std::string& prefix, Device device) const {
  std::map<std::string, Tensor> found;
  for (const SafetensorsEntry& entry : reader_.entries()) {
    if (entry.name.starts_with(prefix)) {
      found[entry.name.substr(prefix.size())] = tensor(entry.name, device);
    }
  }
  return found;
}

void Report::count(const std::string& what, const std::string& fault) {
  if (fault.empty()) {
    ++passed_;
  } else {
    fail(what, fault);
  }
}

void Report::count(const File& file, const std::string& what, const std::string& fault) {
  count(file.name() + " " + what, fault);
}

void Report::fail(const std::string& what, const std::string& fault) {
  ++failed_;
  out_ << "FAILED " << what << ": " << fault << "\n";
}

void Report::skip(const std::string& what, const std::string& why) {
  out_ << what << ": skipped, " << why << "\n";
}

void Report::remark(const std::string& line) { out_ << line << "\n"; }

double largest(const Tensor& t) {
  double m = 0;
  for (double v : values_of(t)) m = std::fmax(m, std::fabs(v));
  return m;
}

std::string fault_within(const Tensor& have, const Tensor& want, double allowed) {
  if (std::string form = fault_of_form(have, want); !form.empty()) return form;
  const std::vector<double> h = values_of(have), w = values_of(want);
  for (size_t i = 0; i < w.size(); ++i) {
    if (!(std::fabs(h[i] - w[i]) <= allowed)) {
      return fmt::format("element {} is {} for {}, off by {:.3g} where {:.3g} is allowed", i, h[i],
                         w[i], std::fabs(h[i] - w[i]), allowed);
    }
  }
  return "";
}

std::string fault_in_norm(const Tensor& have, const Tensor& want, double allowed) {
  if (std::string form = fault_of_form(have, want); !form.empty()) return form;
  const std::vector<double> h = values_of(have), w = values_of(want);
  double distance = 0, norm = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    distance += (h[i] - w[i]) * (h[i] - w[i]);
    norm += w[i] * w[i];
  }
  if (std::sqrt(distance) <= allowed * std::sqrt(norm)) return "";
  return fmt::format("off by {:.3g} of a norm of {:.3g}, {:.3g} times what is allowed",
                     std::sqrt(distance), std::sqrt(norm), std::sqrt(distance / norm) / allowed);
}

int run_folder(const std::string& folder, Device device, std::ostream& out) {
  std::error_code error;
  TESSERA_CHECK_USAGE(fs::is_directory(folder, error), "{} is no folder", folder);
  std::vector<fs::path> cases;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (is_case(entry.path())) cases.push_back(entry.path());
  }
  TESSERA_CHECK_USAGE(!error, "cannot read {}: {}", folder, error.message());
  TESSERA_CHECK_USAGE(!cases.empty(), "{} holds no golden file (*.safetensors)", folder);
  std::sort(cases.begin(), cases.end());

  Report report(out);
  for (const fs::path& path : cases) {
    const std::string name = path.filename().string();
    const int passed = report.passed(), failed = report.failed();
    try {
      if (path.extension() == ".json") {
        run_block_masks(path.string(), name, report);
      } else {
        run_file(path.string(), device, report);
      }
    } catch (const std::exception& e) {
      report.fail(name, e.what());
    }
    const int agree = report.passed() - passed, differ = report.failed() - failed;
    if (agree + differ > 0) {
      report.remark(fmt::format("{}: {} of {} agree", name, agree, agree + differ));
    }
  }
  report.remark(fmt::format("{} passed, {} failed", report.passed(), report.failed()));
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace tessera::golden
