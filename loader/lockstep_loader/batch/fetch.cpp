#include "lockstep_loader/batch/fetch.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

constexpr std::int64_t kBytesAhead = 6 * 1024;     // measured: README.md, "Cost"
constexpr std::int64_t kBytesADigest = 16 * 1024;  // a third of a first cache

std::size_t aligned(std::size_t bytes) {
  return (bytes + BufferPool::kAlignment - 1) / BufferPool::kAlignment * BufferPool::kAlignment;
}

std::size_t bytes_of_record(const std::vector<Field>& fields) {
  std::size_t bytes = 0;
  for (const Field& field : fields) bytes += field.bytes();
  return bytes;
}

// A bug of ours or a lack of memory is no property of a record.
bool is_bad_sample(const Error& error) { return error.code() != ErrorCode::internal; }

}  // namespace

BatchFetcher::BatchFetcher(DatasetPtr dataset, std::uint64_t seed, BadSample bad_sample,
                           std::size_t kept_buffers)
    : dataset_(std::move(dataset)),
      seed_(seed),
      bad_sample_(bad_sample),
      record_bytes_(std::max<std::size_t>(bytes_of_record(dataset_->fields()), 1)),
      records_ahead_(std::clamp<std::int64_t>(kBytesAhead / static_cast<std::int64_t>(record_bytes_), 1, 16)),
      rows_a_digest_(std::max<std::int64_t>(kBytesADigest / static_cast<std::int64_t>(record_bytes_), 1)),
      pool_(kept_buffers) {}

// One call of fetch: the batch under construction and where its next row goes.
class BatchFetcher::Filler {
 public:
  Filler(const BatchFetcher& fetcher, const FetchRequest& request, const EpochPositions& positions)
      : fetcher_(fetcher), request_(request), positions_(positions) {
    allocate();
    batch().ids.resize(static_cast<std::size_t>(request.rows));
    positions.ids(request.first_position, batch().ids);
  }

  Fetched fill(const std::atomic<bool>& cancelled) {
    const Dataset& dataset = *fetcher_.dataset_;
    const std::vector<std::int64_t>& ids = batch().ids;
    for (std::int64_t i = 0; i < std::min(fetcher_.records_ahead_, request_.rows); ++i)
      dataset.prefetch(ids[at(i)]);
    for (std::int64_t i = 0; i < request_.rows; ++i) {
      if (cancelled.load(std::memory_order_relaxed))
        fail(ErrorCode::internal, {"loader", "a fetch was cancelled", "", "", ""});
      if (i + fetcher_.records_ahead_ < request_.rows) dataset.prefetch(ids[at(i + fetcher_.records_ahead_)]);
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

  void allocate() {
    const std::vector<Field>& fields = fetcher_.dataset_->fields();
    std::size_t bytes = 0;
    for (const Field& field : fields) bytes += aligned(field.bytes() * at(request_.rows));
    batch().storage = fetcher_.pool_.take(bytes);
    std::byte* start = batch().storage.get();
    for (const Field& field : fields) {
      out_.push_back(start);
      batch().names.push_back(field.name);
      batch().fields.push_back({start, field.dtype, field.shape.prepended(request_.rows), Device::cpu});
      start += aligned(field.bytes() * at(request_.rows));
    }
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
    const std::vector<Field>& fields = fetcher_.dataset_->fields();
    for (std::size_t f = 0; f < fields.size(); ++f) out_[f] += fields[f].bytes();
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
  std::int64_t rows_ = 0;           // written so far
  std::int64_t run_first_row_ = 0;  // first row that is not digested yet
  std::int64_t run_offset_ = 0;     // its offset in the request
};

Fetched BatchFetcher::fetch(const FetchRequest& request, const EpochPositions& positions,
                            const std::atomic<bool>& cancelled) const {
  return Filler(*this, request, positions).fill(cancelled);
}

}  // namespace lockstep::loader
