#pragma once
// What the tests of this room share: recordings in memory, and a disk that fills up.

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/reader_internal.h"
#include "lockstep/record/recorder_internal.h"

namespace lockstep::record::testing {

inline RunInfo small_info() {
  RunInfo info;
  info.run_id = "00112233445566778899aabbccddeeff";
  info.started_ns = 1'700'000'000'000'000'000;
  info.segment_started_ns = info.started_ns;
  info.program = "demo";
  info.command_line = {"demo", "--seed", "7"};
  info.semantic = {{"seed", "7"}};
  return info;
}

/// A recording put together frame by frame, with the places of its frames.
struct Built {
  std::string bytes;
  std::vector<std::size_t> begins;  ///< of each frame
  std::vector<Record> records;

  std::size_t frame_end(std::size_t index) const {
    return index + 1 < begins.size() ? begins[index + 1] : bytes.size();
  }
};

class Builder {
 public:
  explicit Builder(const RunInfo& info = small_info()) : salt_(identity_of(info).salt()) {
    built_.bytes = encode_header(identity_of(info));
    add(FrameType::run, info);
  }
  template <class T>
  Builder& add(FrameType type, const T& record) {
    return add_as(type, sequence_, record);
  }
  template <class T>
  Builder& add_as(FrameType type, std::uint64_t sequence, const T& payload) {
    built_.begins.push_back(built_.bytes.size());
    digest_.add(sequence, append_frame(built_.bytes, salt_, type, sequence, payload));
    sequence_ = sequence + 1;
    if constexpr (std::is_constructible_v<Record, T>) built_.records.push_back(payload);
    return *this;
  }
  Builder& skip(std::uint64_t frames) {
    sequence_ += frames;
    return *this;
  }
  Built end(std::int64_t last_step = 1) {
    const fingerprint::DigestSum sum = digest_.sum();
    add(FrameType::end, EndRecord{static_cast<std::int64_t>(sequence_), sum, last_step, "closed"});
    return built_;
  }
  const Built& torn() const { return built_; }

 private:
  Built built_;
  std::uint32_t salt_;
  std::uint64_t sequence_ = 0;
  CrcDigest digest_;
};

inline LossRecord loss_of(std::int64_t step) { return {step, "loss", DType::float32, 0x3f800000, "1"}; }

inline TensorSummary summary_of(const std::string& name) {
  TensorSummary tensor;
  tensor.name = name;
  tensor.dtype = DType::uint8;
  tensor.shape = {2, 3};
  tensor.digest = {0x0102030405060708, 0x1112131415161718};
  tensor.values = "abcdef";
  return tensor;
}

/// run, 2 × (batch, loss), tensor, event, end: every type of frame.
inline Builder small_builder() {
  Builder builder;
  for (std::int64_t step = 0; step < 2; ++step) {
    BatchRecord batch;
    batch.step = batch.index = step;
    batch.samples = 2;
    batch.ids = std::vector<std::int64_t>{4 + step, 7};
    batch.fields = {summary_of("data")};
    builder.add(FrameType::batch, batch).add(FrameType::loss, loss_of(step));
  }
  builder.add(FrameType::tensor, TensorRecord{1, Phase::gradient, summary_of("fc1.weight")});
  builder.add(FrameType::event, EventRecord{1, "checkpoint", "step 1"});
  return builder;
}

inline std::string bytes_of(const Record& record) {
  return std::visit([](const auto& value) { return state::to_bytes(value); }, record);
}

struct ReadBack {
  std::vector<std::string> records;  ///< as bytes
  std::vector<bool> gaps;
  std::optional<RunInfo> info;
  Check check;
};

inline ReadBack read_back(std::string bytes) {
  Reader reader = reader_over_memory(std::move(bytes));
  ReadBack read;
  read.info = reader.info();
  while (auto record = reader.next()) {
    read.records.push_back(bytes_of(*record));
    read.gaps.push_back(reader.gap_before());
  }
  read.check = reader.check();
  return read;
}

inline std::vector<Record> records_of(const std::string& bytes) {
  Reader reader = reader_over_memory(bytes);
  std::vector<Record> records;
  while (auto record = reader.next()) records.push_back(std::move(*record));
  return records;
}

template <class T>
std::vector<T> all_of(const std::string& bytes) {
  std::vector<T> found;
  for (Record& record : records_of(bytes)) {
    if (auto* value = std::get_if<T>(&record)) found.push_back(std::move(*value));
  }
  return found;
}

/// A disk in memory, with room for so many bytes, whose fsync can fail too.
struct Disk {
  std::map<std::string, std::string> files;
  std::uint64_t room_bytes = std::numeric_limits<std::uint64_t>::max();
  int sync_error = 0;
  int truncate_error = 0;
  int writes = 0, syncs = 0;

  const std::string& only_file() const { return files.begin()->second; }
};

class DiskSink final : public FileSink {
 public:
  DiskSink(Disk& disk, std::string& bytes) : disk_(disk), bytes_(bytes) {}
  int write(std::uint64_t offset, std::string_view bytes, std::size_t* written) override {
    ++disk_.writes;
    const std::uint64_t room = disk_.room_bytes > offset ? disk_.room_bytes - offset : 0;
    *written = std::min<std::uint64_t>(bytes.size(), room);
    bytes_.resize(std::max<std::size_t>(bytes_.size(), offset + *written));
    bytes_.replace(offset, *written, bytes.substr(0, *written));
    return *written == bytes.size() ? 0 : ENOSPC;
  }
  int sync() override { return ++disk_.syncs, disk_.sync_error; }
  int truncate(std::uint64_t size) override {
    if (disk_.truncate_error == 0) bytes_.resize(size);
    return disk_.truncate_error;
  }

 private:
  Disk& disk_;
  std::string& bytes_;
};

inline SinkMaker maker_of(Disk& disk) {
  return [&disk](const std::filesystem::path&, const std::string& name,
                 std::string_view first) -> std::unique_ptr<FileSink> {
    const auto [place, is_new] = disk.files.try_emplace(name, first);
    return is_new ? std::make_unique<DiskSink>(disk, place->second) : nullptr;
  };
}

/// A recorder on `disk`.
inline Recorder recorder_on(Disk& disk, const RecorderOptions& options = {},
                            const RunInfo& info = small_info()) {
  return Recorder(std::make_unique<Recorder::Impl>(std::filesystem::temp_directory_path(), info, options,
                                                   maker_of(disk)));
}

inline std::string content_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_file(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

/// Runs `call` and returns the Error that it throws.
inline Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorCode::internal, "none");
}

#define EXPECT_ERROR(call, wanted_code, words)                                             \
  do {                                                                                     \
    const ::lockstep::Error error_ = ::lockstep::record::testing::error_of([&] { call; }); \
    EXPECT_EQ(error_.code(), wanted_code) << error_.what();                                \
    EXPECT_NE(std::string(error_.what()).find(words), std::string::npos) << error_.what(); \
  } while (false)

}  // namespace lockstep::record::testing
