#include "lockstep_loader/format/cifar.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/cifar_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::size_t kPixels = 3 * 32 * 32;

struct LabelByte {
  const char* field;
  std::size_t offset;
  unsigned classes;
};

/// The label bytes of a record, in the order of the fields.
std::vector<LabelByte> label_bytes(CifarKind kind) {
  if (kind == CifarKind::cifar10) return {{"label", 0, 10}};
  return {{"label", 1, 100}, {"coarse_label", 0, 20}};
}

void check_labels(const Content& content, const LabelByte& label, std::size_t record_bytes) {
  for (std::size_t at = label.offset; at < content.bytes.size(); at += record_bytes) {
    const auto value = std::to_integer<unsigned>(content.bytes[at]);
    if (value < label.classes) continue;
    fail(ErrorCode::corruption,
         {content.name, fmt::format("{} of record {}", label.field, at / record_bytes),
          fmt::format("0 to {}", label.classes - 1), fmt::to_string(value),
          "This is no such CIFAR file; look whether CIFAR-10 and CIFAR-100 were exchanged."});
  }
}

}  // namespace

ColumnSet parse_cifar(Content raw, CifarKind kind, std::uint64_t max_inflated_bytes) {
  const Content content = ContentReader(std::move(raw)).all(max_inflated_bytes);
  const std::vector<LabelByte> labels = label_bytes(kind);
  const std::size_t record_bytes = labels.size() + kPixels;
  const std::string name = kind == CifarKind::cifar10 ? "cifar10" : "cifar100";
  if (content.bytes.size() % record_bytes != 0) {
    fail(ErrorCode::corruption,
         {content.name, "size", fmt::format("a multiple of {} bytes ({} records)", record_bytes, name),
          fmt::format("{} bytes", content.bytes.size()),
          "The file is truncated or of another kind; get the binary version again."});
  }
  ColumnSet set{.kind = name,
                .description = name + " " + content.name,
                .rule = ContentRule::spread,
                .owner = content.owner};
  set.records = static_cast<std::int64_t>(content.bytes.size() / record_bytes);
  set.content.push_back(content.bytes);
  const auto stride = static_cast<std::int64_t>(record_bytes);
  set.columns.push_back({{"image", DType::uint8, {3, 32, 32}}, content.bytes.data() + labels.size(), stride});
  for (const LabelByte& label : labels) {
    check_labels(content, label, record_bytes);
    set.columns.push_back({{label.field, DType::uint8, {}}, content.bytes.data() + label.offset, stride});
  }
  return set;
}

CifarDataset::CifarDataset(const std::vector<std::filesystem::path>& files, CifarKind kind,
                           std::uint64_t max_inflated_bytes)
    : ConcatDataset([&] {
        std::vector<DatasetPtr> parts;
        parts.reserve(files.size());
        for (const std::filesystem::path& file : files) {
          parts.push_back(
              std::make_shared<ColumnDataset>(parse_cifar(map_file(file), kind, max_inflated_bytes)));
        }
        return parts;
      }()) {}

}  // namespace lockstep::loader
