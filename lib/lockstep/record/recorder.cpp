#include "lockstep/record/recorder.h"

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <sys/random.h>
#include <system_error>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "lockstep/record/environment.h"
#include "lockstep/record/recorder_internal.h"

namespace lockstep::record {
namespace {

namespace fs = std::filesystem;

std::int64_t utc_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string new_run_id() {
  Identity identity;
  if (::getrandom(identity.run_id.data(), identity.run_id.size(), 0) !=
      static_cast<ssize_t>(identity.run_id.size())) {
    fail(ErrorCode::io,
         {"recorder", "random run id", "16 random bytes of the system", "none", "Give RunInfo::run_id"});
  }
  return identity.run_id_hex();
}

std::map<std::string, std::string> policy_of(const RecorderOptions& options) {
  const auto yes_no = [](bool value) { return std::string(value ? "yes" : "no"); };
  return {{"full_batches", std::to_string(options.full_batches)},
          {"values_limit_bytes", std::to_string(options.values_limit_bytes)},
          {"tensors_every", std::to_string(options.tensors_every)},
          {"tensor_values", yes_no(options.tensor_values)},
          {"tensor_statistics", yes_no(options.tensor_statistics)},
          {"write_every_ms", std::to_string(options.write_every_ms)},
          {"sync_every", std::to_string(options.sync_every)},
          {"on_disk_error", options.on_disk_error == OnDiskError::stop ? "stop" : "go_on"}};
}

RunInfo completed(RunInfo info, const RecorderOptions& options) {
  if (info.run_id.empty()) info.run_id = new_run_id();
  if (info.segment_started_ns == 0) info.segment_started_ns = utc_ns();
  if (info.started_ns == 0) info.started_ns = info.segment_started_ns;
  if (info.command_line.empty()) info.command_line = command_line();
  if (info.program.empty() && !info.command_line.empty()) {
    info.program = fs::path(info.command_line.front()).filename().string();
  }
  info.environment.merge(environment());
  info.policy = policy_of(options);
  return info;
}

std::string file_name(const RunInfo& info) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  const std::tm time = fmt::gmtime(static_cast<std::time_t>(info.started_ns / kNsPerSecond));
  return fmt::format("{:%Y%m%dT%H%M%S}-{:.8}-r{}-s{}.lsr", time, info.run_id, info.rank, info.segment);
}

std::string beginning_of(const RunInfo& info) {
  const Identity identity = identity_of(info);
  std::string bytes = encode_header(identity);
  append_frame(bytes, identity.salt(), FrameType::run, 0, info);
  return bytes;
}

void make_folder(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (!error) return;
  fail(ErrorCode::io, {directory.string(),
                       "folder for recordings cannot be created",
                       {},
                       error.message(),
                       "Name a folder that you may write to"});
}

template <class Float>
std::string shortest(Float value) {
  if (std::isnan(value)) return "nan";
  std::array<char, 32> text{};
  return std::string(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

LossRecord loss_record(std::int64_t step, const LossValue& loss) {
  return {step, loss.name, loss.dtype, loss.bits,
          loss.dtype == DType::float32 ? shortest(std::bit_cast<float>(static_cast<std::uint32_t>(loss.bits)))
                                       : shortest(std::bit_cast<double>(loss.bits))};
}

}  // namespace

Recorder::Impl::Impl(const fs::path& directory, RunInfo given, const RecorderOptions& given_options,
                     const SinkMaker& make_sink)
    : options(given_options), info(completed(std::move(given), given_options)) {
  identity_of(info);
  make_folder(directory);
  // A run that is resumed twice from one checkpoint asks for the same segment twice; no file is ever
  // replaced.
  for (;; ++info.segment) {
    const std::string beginning = beginning_of(info);
    const std::string name = file_name(info);
    if (auto sink = make_sink(directory, name, beginning)) {
      file = directory / name;
      log.emplace(std::move(sink), file, identity_of(info), options.on_disk_error, beginning);
      return;
    }
    if (info.segment == 0) {
      fail(ErrorCode::invalid_argument,
           {"recorder constructor", "segment 0 of run " + info.run_id, "no file " + name,
            "one in " + directory.string(),
            "Give segment 1 or more when a run is resumed, and an empty run_id for a new one"});
    }
  }
}

void Recorder::Impl::begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index) {
  order.require_open("begin_step");
  log->usable();
  order.begin_step(step);
  batch_open_ = true;
  batch.step = step;
  batch.epoch = epoch;
  batch.index = batch_index;
  log->set_step(step);
  builder_.begin(step < options.full_batches, options.values_limit_bytes);
}

void Recorder::Impl::batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                                const std::vector<FieldPart>& fields) {
  order.require_step("batch_part");
  if (!log->usable()) return;
  builder_.check_memory(fields);
  order.batch_part(first_sample, static_cast<std::int64_t>(ids.size()), fields);
  if (!builder_.has_parts() && !builder_.keeps_fields(fields)) settle();
  builder_.add(first_sample, ids, fields);
}

template <class Payload>
void Recorder::Impl::put(FrameType type, const Payload& payload) {
  if (!batch_open_) {
    settle();
    return log->append(type, payload);
  }
  for (const LossValue& loss : losses_) hold(FrameType::loss, loss_record(batch.step, loss));
  losses_.clear();
  hold(type, payload);
}

template <class Payload>
void Recorder::Impl::hold(FrameType type, const Payload& payload) {
  held_.push_back({type, held_bytes_.size()});
  state::SaveArchive(held_bytes_) & payload;
}

void Recorder::Impl::close_batch() {
  if (!batch_open_) return;
  batch_open_ = false;
  if (!builder_.in_full() && held_.empty()) return wait();
  settle();
  builder_.finish(batch);
  log->append(FrameType::batch, batch);
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const std::size_t end = i + 1 < held_.size() ? held_[i + 1].begin : held_bytes_.size();
    log->append_payload(held_[i].type,
                        std::string_view(held_bytes_).substr(held_[i].begin, end - held_[i].begin));
  }
  held_.clear();
  held_bytes_.clear();
  for (const LossValue& loss : losses_) log->append(FrameType::loss, loss_record(batch.step, loss));
  losses_.clear();
}

void Recorder::Impl::wait() {
  if (waiting_count_ == waiting_.size()) waiting_.emplace_back();
  Step& step = waiting_[waiting_count_++];
  step.step = batch.step, step.epoch = batch.epoch, step.index = batch.index;
  step.totals = builder_.totals();
  step.losses.swap(losses_);
  losses_.clear();
}

void Recorder::Impl::settle() {
  if (waiting_count_ == 0) return;
  BatchRecord& record = waiting_record_;
  record.names = batch.names;
  const std::size_t count = std::exchange(waiting_count_, 0);
  for (std::size_t i = 0; i < count; ++i) {
    const Step& step = waiting_[i];
    record.step = step.step, record.epoch = step.epoch, record.index = step.index;
    builder_.finish(step.totals, record);
    log->append(FrameType::batch, record);
    for (const LossValue& loss : step.losses) log->append(FrameType::loss, loss_record(step.step, loss));
  }
}

void Recorder::Impl::loss(const std::string& name, DType dtype, std::uint64_t bits) {
  order.require_step("loss");
  if (!log->usable()) return;
  const LossValue loss{name, dtype, bits};
  batch_open_ ? losses_.push_back(loss) : put(FrameType::loss, loss_record(batch.step, loss));
}

template <class Make>
void Recorder::Impl::tensor(Phase phase, Make make) {
  order.require_step("tensor");
  if (!log->usable()) return order.tensor(phase);
  const TensorRecord record{batch.step, phase, make()};
  order.tensor(phase);
  if (phase != Phase::named && builder_.has_parts()) close_batch();
  settle();
  phase == Phase::named ? put(FrameType::tensor, record) : log->append(FrameType::tensor, record);
}

void Recorder::Impl::event(const std::string& kind, const std::string& text) {
  order.require_open("event");
  if (!log->usable()) return;
  const std::int64_t step = order.last_step() < 0 ? info.first_step : order.last_step();
  put(FrameType::event, EventRecord{step, kind, text});
}

void Recorder::Impl::end_step() {
  order.require_step("end_step");
  close_batch();
  order.end_step();
  if (log->write_is_due(options.write_every_ms)) {
    settle();
    log->write_out();
  } else if (waiting_count_ >= kMostWaiting) {
    settle();
  }
  if (options.sync_every <= 0 || ++unsynced_steps_ < options.sync_every) return;
  unsynced_steps_ = 0;
  if (log->sync_is_cheap()) sync();
}

void Recorder::Impl::sync() {
  settle();
  log->sync();
}

void Recorder::Impl::close(const char* reason) {
  settle();
  log->end(order.step_is_open() ? order.last_step() - 1 : order.last_step(), reason);
}

bool Recorder::Impl::wants_tensors() const {
  return !log->failed() && order.wants_tensors(options.tensors_every);
}

Recorder::Recorder(const fs::path& directory, RunInfo info, RecorderOptions options)
    : impl_(std::make_unique<Impl>(directory, std::move(info), options, create_file_sink)) {}
Recorder::Recorder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Recorder::~Recorder() {
  try {
    if (!impl_->order.is_closed() && !impl_->log->failed()) impl_->close("interrupted");
  } catch (const std::exception&) {
    // A destructor cannot tell; the missing end record will.
  }
}

const fs::path& Recorder::file() const { return impl_->file; }
const RunInfo& Recorder::info() const { return impl_->info; }

void Recorder::begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index) {
  impl_->begin_step(step, epoch, batch_index);
}

void Recorder::batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                          const std::vector<FieldPart>& fields) {
  impl_->batch_part(first_sample, ids, fields);
}

void Recorder::name_field(const std::string& field, const std::string& dataset_and_variant) {
  impl_->order.require_open("name_field");
  impl_->settle();
  impl_->batch.names[field] = dataset_and_variant;
}

void Recorder::loss(const std::string& name, float value) {
  impl_->loss(name, DType::float32, std::bit_cast<std::uint32_t>(value));
}

void Recorder::loss(const std::string& name, double value) {
  impl_->loss(name, DType::float64, std::bit_cast<std::uint64_t>(value));
}

bool Recorder::wants_tensors() const { return impl_->wants_tensors(); }

void Recorder::force_tensors() { impl_->order.force_tensors(); }

void Recorder::tensor(Phase phase, const std::string& name, const ConstView& tensor) {
  impl_->tensor(phase, [&] { return summary(name, tensor, impl_->options); });
}
void Recorder::tensor(Phase phase, TensorSummary summary) {
  impl_->tensor(phase, [&] { return std::move(summary); });
}

TensorSummary Recorder::summary(const std::string& name, const ConstView& tensor,
                                const RecorderOptions& options) {
  if (tensor.device != Device::cpu) {
    fail(ErrorCode::unsupported, {"recorder tensor", fmt::format("'{}'", name), "memory of the CPU",
                                  "memory of a GPU", "Copy it to the CPU first"});
  }
  TensorSummary summary{name, tensor.dtype, {tensor.shape.begin(), tensor.shape.end()}, {}, {}, {}, {}};
  summary.digest = fingerprint::digest(tensor);
  if (options.tensor_statistics) summary.statistics = fingerprint::statistics(tensor);
  if (options.tensor_values) summary.values.emplace(static_cast<const char*>(tensor.data), tensor.bytes());
  return summary;
}

void Recorder::event(const std::string& kind, const std::string& text) { impl_->event(kind, text); }
void Recorder::end_step() { impl_->end_step(); }

void Recorder::sync() {
  impl_->order.require_open("sync");
  impl_->sync();
}

void Recorder::close() {
  impl_->order.close();
  impl_->close("closed");
}

const std::string& Recorder::failure() const { return impl_->log->failure(); }

}  // namespace lockstep::record
