#include "lockstep_loader/batch/fetch.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/record_memory.h"

namespace lockstep::loader {
namespace {

// Measured: bench/loader/README.md. Each call of the digest has its own cost, so the rows of one call are as
// many as stay in the second cache.
constexpr std::int64_t kBytesAhead = 3 * 1024 + 256;
constexpr std::int64_t kBytesADigest = 64 * 1024;

constexpr std::size_t kBytesWorthFusing =
    128;  // shorter records are digested faster together, after they were copied

std::size_t aligned(std::size_t bytes) {
  return (bytes + BufferPool::kAlignment - 1) / BufferPool::kAlignment * BufferPool::kAlignment;
}

std::vector<std::size_t> bytes_of(const std::vector<Field>& fields) {
  std::vector<std::size_t> bytes;
  bytes.reserve(fields.size());
  for (const Field& field : fields) bytes.push_back(field.bytes());
  return bytes;
}

// How many records of these sizes make about `bytes`.
std::int64_t records_in(std::int64_t bytes, const std::vector<std::size_t>& sizes) {
  const std::size_t record = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
  return bytes / static_cast<std::int64_t>(std::max<std::size_t>(record, 1));
}

// A bug of ours or a lack of memory is no property of a record.
bool is_bad_sample(const Error& error) { return error.code() != ErrorCode::internal; }

}  // namespace

BatchFetcher::BatchFetcher(DatasetPtr dataset, std::uint64_t seed, BadSample bad_sample,
                           std::size_t kept_buffers, Allocate allocate)
    : dataset_(std::move(dataset)),
      seed_(seed),
      bad_sample_(bad_sample),
      field_bytes_(bytes_of(dataset_->fields())),
      records_ahead_(std::clamp<std::int64_t>(records_in(kBytesAhead, field_bytes_), 2, 16)),
      rows_a_digest_(std::max<std::int64_t>(records_in(kBytesADigest, field_bytes_), 1)),
      pool_(kept_buffers, std::move(allocate)) {}

// One call of fetch: the batch under construction and where its next row goes.
class BatchFetcher::Filler {
 public:
  Filler(const BatchFetcher& fetcher, const FetchRequest& request, const EpochPositions& positions)
      : fetcher_(fetcher), request_(request), positions_(positions) {
    batch().ids.resize(static_cast<std::size_t>(request.rows));
    positions.ids(request.first_position, batch().ids);
    for (std::int64_t i = 0; i < std::min(fetcher_.records_ahead_, request.rows); ++i) prefetch(i);
    allocate();
  }

  Fetched fill(const std::atomic<bool>& cancelled) {
    if (fill_from_memory()) {
      finish();
      return std::move(fetched_);
    }
    const std::vector<std::int64_t>& ids = batch().ids;
    for (std::int64_t i = 0; i < request_.rows; ++i) {
      if (cancelled.load(std::memory_order_relaxed))
        fail(ErrorCode::internal, {"loader", "a fetch was cancelled", "", "", ""});
      if (i + fetcher_.records_ahead_ < request_.rows) prefetch(i + fetcher_.records_ahead_);
      if (get_row(i, ids[at(i)])) {
        advance();
      } else {
        close_run(i + 1);
      }
      if (rows_ - run_first_row_ == fetcher_.rows_a_digest_) close_run(i + 1);
    }
    close_run(request_.rows);
    finish();
    return std::move(fetched_);
  }

 private:
  static std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }
  Batch& batch() { return fetched_.batch; }
  void prefetch(std::int64_t offset) { fetcher_.dataset_->prefetch(batch().ids[at(offset)]); }

  void allocate() {
    const std::vector<Field>& fields = fetcher_.dataset_->fields();
    std::size_t bytes = 0;
    for (const std::size_t record : fetcher_.field_bytes_) bytes += aligned(record * at(request_.rows));
    batch().storage = fetcher_.pool_.take(bytes);
    batch().names.reserve(fields.size()), batch().fields.reserve(fields.size()), out_.reserve(fields.size());
    std::byte* start = batch().storage.get();
    for (std::size_t f = 0; f < fields.size(); ++f) {
      out_.push_back(start);
      batch().names.push_back(fields[f].name);
      batch().fields.push_back(
          {start, fields[f].dtype, fields[f].shape.prepended(request_.rows), Device::cpu});
      start += aligned(fetcher_.field_bytes_[f] * at(request_.rows));
    }
  }

  // The short way, for records that lie in memory as they are delivered: a gather that digests what it
  // copies. Floating-point fields are digested after the copy, by canonical values.
  bool fill_from_memory() {
    const std::size_t field_count = batch().fields.size();
    sources_.resize(field_count * at(request_.rows));
    for (std::size_t f = 0; f < field_count; ++f) {
      if (!find_sources(f, std::span(sources_).subspan(f * at(request_.rows), at(request_.rows))))
        return false;
    }
    for (std::size_t f = 0; f < field_count; ++f) {
      gather(f, std::span(sources_).subspan(f * at(request_.rows), at(request_.rows)));
    }
    fetched_.digest.add_ids(batch().ids, request_.first_position);
    rows_ = request_.rows;
    return true;
  }

  bool find_sources(std::size_t field, std::span<const void*> sources) const {
    for (std::size_t row = 0; row < sources.size(); ++row) {
      sources[row] = fetcher_.dataset_->in_memory(fetched_.batch.ids[row], field);
      if (sources[row] == nullptr) return false;
    }
    return true;
  }

  void gather(std::size_t field, std::span<const void* const> sources) {
    const ConstView& view = batch().fields[field];
    const std::size_t bytes = fetcher_.field_bytes_[field];
    if (bytes >= kBytesWorthFusing && !is_floating_point(view.dtype)) {
      return fetched_.digest.add_field(
          field, fingerprint::copy_and_digest_samples(out_[field], sources, bytes, request_.first_position));
    }
    std::byte* out = out_[field];
    for (const void* const source : sources) {
      copy_record(out, static_cast<const std::byte*>(source), bytes);
      out += bytes;
    }
    fetched_.digest.add_field(field, fingerprint::digest_samples(view, request_.first_position));
  }

  // Writes the row at `offset` of the request, or says that it is skipped.
  bool get_row(std::int64_t offset, std::int64_t record) {
    const std::int64_t position = request_.first_position + offset;
    random::RecordKey key{fetcher_.seed_, static_cast<std::uint32_t>(request_.epoch), record,
                          positions_.occurrence(position, record)};
    try {
      fetcher_.dataset_->get(record, key, out_);
      batch().ids[at(rows_)] = record;
      return true;
    } catch (const Error& error) {
      if (!is_bad_sample(error)) throw;
      return handle_bad_row(position, key, error);
    }
  }

  bool handle_bad_row(std::int64_t position, random::RecordKey key, const Error& error) {
    BadSampleEvent event{position, key.record, -1, error.what()};
    if (fetcher_.bad_sample_ == BadSample::fail) refuse(event, error.code());
    if (fetcher_.bad_sample_ == BadSample::substitute) {
      event.replacement = get_substitute(key);
      batch().ids[at(rows_)] = event.replacement;
    }
    batch().bad.push_back(std::move(event));
    return fetcher_.bad_sample_ == BadSample::substitute;
  }

  [[noreturn]] void refuse(const BadSampleEvent& event, ErrorCode code) const {
    throw Error(code, {"loader",
                       fmt::format("batch {} of epoch {}, position {}, record {}", request_.index,
                                   request_.epoch, event.position, event.record),
                       "a record that can be read", event.reason,
                       "Repair the data, or choose the bad-sample policy skip or substitute."});
  }

  // The rule: the next record by id, around the end, that can be read.
  std::int64_t get_substitute(random::RecordKey key) {
    const Dataset& dataset = *fetcher_.dataset_;
    const std::int64_t bad = key.record;
    const std::int64_t tries = std::min(kMaxSubstitutes, dataset.size() - 1);
    for (std::int64_t step = 1; step <= tries; ++step) {
      key.record = (bad + step) % dataset.size();
      try {
        dataset.get(key.record, key, out_);
        return key.record;
      } catch (const Error& error) {
        if (!is_bad_sample(error)) throw;
      }
    }
    fail(ErrorCode::corruption, {"loader", fmt::format("substitute for record {}", bad),
                                 fmt::format("a good one among the next {}", tries), "none",
                                 "Too much of the data is damaged to go on; repair it."});
  }

  void advance() {
    for (std::size_t f = 0; f < out_.size(); ++f) out_[f] += fetcher_.field_bytes_[f];
    ++rows_;
  }

  // Digests the rows since the last call: they stand at consecutive positions. `next_offset` is where the
  // next run starts.
  void close_run(std::int64_t next_offset) {
    if (rows_ > run_first_row_) {
      const std::int64_t count = rows_ - run_first_row_;
      run_.clear();
      for (const ConstView& field : batch().fields) run_.push_back(rows_of(field, run_first_row_, count));
      fetched_.digest.add(std::span(batch().ids).subspan(at(run_first_row_), at(count)), run_,
                          request_.first_position + run_offset_);
    }
    run_first_row_ = rows_;
    run_offset_ = next_offset;
  }

  static ConstView rows_of(const ConstView& field, std::int64_t first, std::int64_t count) {
    const Shape record = field.shape.without_first();
    const std::size_t bytes = at(record.elements()) * dtype_bytes(field.dtype);
    return {static_cast<const std::byte*>(field.data) + at(first) * bytes, field.dtype,
            record.prepended(count), Device::cpu};
  }

  void finish() {
    batch().epoch = request_.epoch;
    batch().index = request_.index;
    batch().global_samples = request_.global_samples;
    batch().first_sample = request_.first_sample;
    if (rows_ == request_.rows) return;
    batch().ids.resize(at(rows_));
    for (ConstView& field : batch().fields) field.shape = field.shape.without_first().prepended(rows_);
  }

  const BatchFetcher& fetcher_;
  const FetchRequest& request_;
  const EpochPositions& positions_;
  Fetched fetched_;
  std::vector<std::byte*> out_;  // where the next row of each field goes
  std::vector<ConstView> run_;
  std::vector<const void*> sources_;  // field by field, where its rows lie in memory
  std::int64_t rows_ = 0;             // written so far
  std::int64_t run_first_row_ = 0;    // first row that is not digested yet
  std::int64_t run_offset_ = 0;       // its offset in the request
};

Fetched BatchFetcher::fetch(const FetchRequest& request, const EpochPositions& positions,
                            const std::atomic<bool>& cancelled) const {
  return Filler(*this, request, positions).fill(cancelled);
}

}  // namespace lockstep::loader
