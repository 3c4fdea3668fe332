#include <algorithm>

#include <fmt/format.h>

#include "lockstep/record/compare_values_internal.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/inspect.h"
#include "lockstep/record/report_internal.h"

namespace lockstep::record {
namespace {

constexpr std::size_t kNameWidth = 16;

/// Text from a file, safe for a terminal: control characters become dots.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '.');
  return text;
}

class Writer {
 public:
  Writer(bool color, std::int64_t values_limit) : color_(color), values_limit_(values_limit) {}

  void heading(const std::string& title) {
    text_ += color_ ? "\n\033[1m" + title + "\033[0m\n" : "\n" + title + "\n";
  }
  void row(const std::string& name, const std::string& value, std::size_t width = kNameWidth) {
    text_ += fmt::format("  {:<{}}  {}\n", printable(name), width, printable(value));
  }
  void verdict(const Check& check) {
    const char* paint = check.verdict == Verdict::complete ? "\033[32m" : "\033[31m";
    text_ += color_ ? paint + check.text + "\033[0m\n" : check.text + "\n";
  }
  void line(const std::string& line) { text_ += printable(line) + "\n"; }

  void operator()(const BatchRecord& batch);
  void operator()(const LossRecord& loss);
  void operator()(const TensorRecord& record);
  void operator()(const EventRecord& event) { row("event " + event.kind, event.text); }
  void operator()(const RunInfo&) {}
  void operator()(const EndRecord&) {}

  void map(const std::string& title, const std::map<std::string, std::string>& entries);
  std::string take() { return std::move(text_); }

 private:
  void tensor(const TensorSummary& tensor);
  void statistics(const fingerprint::Statistics& statistics);
  std::string values(const TensorSummary& tensor) const;

  bool color_;
  std::int64_t values_limit_;
  std::string text_;
};

void Writer::map(const std::string& title, const std::map<std::string, std::string>& entries) {
  if (entries.empty()) return;
  heading(title);
  std::size_t width = kNameWidth;
  for (const auto& [name, value] : entries) width = std::max(width, std::min<std::size_t>(name.size(), 40));
  for (const auto& [name, value] : entries) row(name, value, width);
}

template <class Element>
std::string listed(std::int64_t count, std::int64_t limit, Element element) {
  std::string text;
  for (std::int64_t i = 0; i < std::min(count, limit); ++i) text += (i > 0 ? " " : "") + element(i);
  return count > limit ? text + fmt::format(" … and {} more", grouped(count - limit)) : text;
}

void Writer::operator()(const BatchRecord& batch) {
  heading(fmt::format("step {}: epoch {}, batch {}, {}", batch.step, batch.epoch, batch.index,
                      counted(batch.samples, "sample")));
  row("ids", batch.ids ? listed(static_cast<std::int64_t>(batch.ids->size()), values_limit_,
                                [&](std::int64_t i) {
                                  return std::to_string((*batch.ids)[static_cast<std::size_t>(i)]);
                                })
                       : "not recorded");
  row("ids digest", batch.ids_digest.hex() + ", in any order " + batch.ids_unordered.hex());
  for (const auto& [field, name] : batch.names) row("name of " + field, name);
  for (const TensorSummary& field : batch.fields) {
    heading("field " + field.name);
    tensor(field);
  }
}

void Writer::operator()(const LossRecord& loss) {
  heading("loss " + loss.name);
  row("value",
      fmt::format("{}  {}  {}", loss.text, bits_text(loss.bits, loss.dtype), dtype_name(loss.dtype)));
}

void Writer::operator()(const TensorRecord& record) {
  heading(fmt::format("{} {}", phase_name(record.phase), record.tensor.name));
  tensor(record.tensor);
}

void Writer::tensor(const TensorSummary& tensor) {
  const Shape shape(tensor.shape.data(), tensor.shape.size());
  row("type", fmt::format("{} {}", dtype_name(tensor.dtype), shape.text()));
  row("digest", tensor.digest.hex());
  if (tensor.unordered) row("in any order", tensor.unordered->hex());
  if (tensor.statistics) statistics(*tensor.statistics);
  if (tensor.values) row("values", values(tensor));
}

void Writer::statistics(const fingerprint::Statistics& s) {
  row("sum, mean, std", fmt::format("{}  {}  {}", s.sum, s.mean, s.std));
  row("min, max, norm", fmt::format("{}  {}  {}", s.min, s.max, s.norm));
  if (s.nan_count != 0 || s.inf_count != 0)  // whatever a file says: their sum may not be a number
    row("NaN, Inf", fmt::format("{} and {} of {}", s.nan_count, s.inf_count, s.count));
}

std::string Writer::values(const TensorSummary& tensor) const {
  const auto count = static_cast<std::int64_t>(tensor.values->size() / dtype_bytes(tensor.dtype));
  return listed(count, values_limit_, [&](std::int64_t i) {
    return value_text(element_bits(*tensor.values, tensor.dtype, i), tensor.dtype);
  });
}

void write_counts(Writer& writer, const Inspection& inspection) {
  std::string frames, tensors;
  for (const auto& [type, count] : inspection.frames) {
    frames += fmt::format("{}{} {}", frames.empty() ? "" : ", ", frame_type_name(type), grouped(count));
  }
  for (const auto& [phase, count] : inspection.tensors) {
    tensors += fmt::format("{}{} {}", tensors.empty() ? "" : ", ", phase_name(phase), grouped(count));
  }
  writer.row("size",
             fmt::format("{}, format version {}",
                         counted(static_cast<std::int64_t>(inspection.size_bytes), "byte"), kFormatVersion));
  writer.row("frames", frames);
  if (!tensors.empty()) writer.row("tensors", tensors);
  writer.row("steps", inspection.last_step < 0
                          ? "none"
                          : fmt::format("{} to {}", inspection.first_step, inspection.last_step));
}

void write_info(Writer& writer, const RunInfo& info) {
  writer.row("run", fmt::format("{}, segment {}, rank {} of {}", info.run_id, info.segment, info.rank,
                                info.world_size));
  writer.row("started", time_text(info.started_ns));
  if (info.segment > 0) {
    writer.row("segment started",
               fmt::format("{}, with step {}", time_text(info.segment_started_ns), info.first_step));
  }
  writer.row("program", info.program);
  writer.row("command line", fmt::format("{}", fmt::join(info.command_line, " ")));
}

void write_events(Writer& writer, const Inspection& inspection) {
  if (inspection.events.empty()) return;
  writer.heading("events");
  for (const EventRecord& event : inspection.events)
    writer.row(fmt::format("step {}", event.step), event.kind + ": " + event.text);
  const auto more = inspection.event_count - static_cast<std::int64_t>(inspection.events.size());
  if (more > 0) writer.row("…", fmt::format("and {} more", grouped(more)));
}

}  // namespace

std::string to_text(const Inspection& inspection, bool color, std::int64_t values_limit) {
  Writer writer(color, values_limit);
  writer.line(inspection.file);
  writer.verdict(inspection.check);
  if (inspection.check.verdict == Verdict::not_a_recording) return writer.take();
  if (inspection.step) {
    for (const Record& record : inspection.records) std::visit(writer, record);
    return writer.take();
  }
  writer.heading("recording");
  if (inspection.info) write_info(writer, *inspection.info);
  write_counts(writer, inspection);
  if (inspection.info) {
    writer.map("semantic settings", inspection.info->semantic);
    writer.map("placement settings", inspection.info->placement);
    writer.map("recorder's policy", inspection.info->policy);
    writer.map("environment", inspection.info->environment);
    if (!inspection.info->guarantees.empty()) {
      writer.heading("guarantees");
      writer.row("in force", fmt::format("{}", fmt::join(inspection.info->guarantees, ", ")));
    }
  }
  write_events(writer, inspection);
  return writer.take();
}

}  // namespace lockstep::record
