// .npz: the archive, its checks, and what NumPy writes.

#include "lockstep_loader/format/npz.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <zlib.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/files_test.h"

namespace lockstep::loader {
namespace {

std::string array_of(const std::string& bytes) {
  const std::string text =
      "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(bytes.size()) + ",), }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + little(text.size(), 2) + text + bytes;
}

std::string deflate_raw(const std::string& bytes) {
  const std::string packed = gzip(bytes);  // a 10-byte header, the stream, 8 bytes of trailer
  return packed.substr(10, packed.size() - 18);
}

struct Entry {
  std::string name;
  std::string content;
  int method = 0;
  int flags = 0;
  bool zip64 = false;
};

/// Writes archives field by field, so that each can be made wrong.
struct Archive {
  std::string local;
  std::string directory;
  std::size_t entries = 0;

  void add(const Entry& entry) {
    const std::string data = entry.method == 8 ? deflate_raw(entry.content) : entry.content;
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(entry.content.data()), entry.content.size());
    const std::uint64_t offset = local.size();
    const std::string common = little(static_cast<std::uint64_t>(entry.flags), 2) +
                               little(static_cast<std::uint64_t>(entry.method), 2) + std::string(4, '\0') +
                               little(crc, 4);
    const std::string sizes = little(data.size(), 4) + little(entry.content.size(), 4);
    local += "PK\x03\x04" + little(20, 2) + common + sizes + little(entry.name.size(), 2) + little(4, 2) +
             entry.name + "ab" + little(0, 2) + data;
    const std::string extra64 = little(1, 2) + little(24, 2) + little(entry.content.size(), 8) +
                                little(data.size(), 8) + little(offset, 8);
    const std::string extra = little(0x7075, 2) + little(1, 2) + "x" + (entry.zip64 ? extra64 : "");
    directory += "PK\x01\x02" + little(20, 2) + little(20, 2) + common +
                 (entry.zip64 ? std::string(8, '\xff') : sizes) + little(entry.name.size(), 2) +
                 little(extra.size(), 2) + std::string(10, '\0') +
                 little(entry.zip64 ? 0xffffffff : offset, 4) + entry.name + extra;
    ++entries;
  }
  std::string end(std::uint64_t offset, const std::string& comment = {}) const {
    return std::string("PK\x05\x06") + std::string(4, '\0') + little(entries, 2) + little(entries, 2) +
           little(directory.size(), 4) + little(offset, 4) + little(comment.size(), 2) + comment;
  }
  std::string bytes(const std::string& comment = {}) const {
    return local + directory + end(local.size(), comment);
  }
  std::string bytes64() const {
    const std::string end64 = "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) +
                              little(entries, 8) + little(entries, 8) + little(directory.size(), 8) +
                              little(local.size(), 8);
    const std::string locator =
        "PK\x06\x07" + little(0, 4) + little(local.size() + directory.size(), 8) + little(1, 4);
    const std::string wide =
        "PK\x05\x06" + std::string(4, '\0') + std::string(12, '\xff') + std::string(2, '\0');
    return local + directory + end64 + locator + wide;
  }
};

Archive archive_of(std::initializer_list<Entry> entries) {
  Archive archive;
  for (const Entry& entry : entries) archive.add(entry);
  return archive;
}

class Npz : public testing::Test {
 protected:
  NpzDataset open(const std::string& bytes, const std::vector<std::string>& arrays = {}) const {
    return NpzDataset(folder_.write("a.npz", bytes), arrays);
  }
  void expect_refused(ErrorCode code, const std::string& bytes,
                      std::initializer_list<std::string> words) const {
    expect_error(code, words, [&] { open(bytes); });
    expect_error(code, {(folder_ / "a.npz").string()}, [&] { open(bytes); });
  }

  const Entry x_{"x.npy", array_of("abcd")};
  const Entry y_{"y.npy", array_of("efgh"), 8};
  TempFolder folder_;
};

TEST_F(Npz, ReadsStoredAndDeflatedArrays) {
  const NpzDataset dataset = open(archive_of({x_, y_}).bytes());
  EXPECT_EQ(dataset.fields(), (std::vector<Field>{{"x", DType::uint8, {}}, {"y", DType::uint8, {}}}));
  EXPECT_EQ(fetch_as<char>(dataset, 2, 0), std::vector<char>{'c'});
  EXPECT_EQ(fetch_as<char>(dataset, 2, 1), std::vector<char>{'g'});
}

TEST_F(Npz, HasTheSameFingerprintHoweverItIsPacked) {
  const Entry deflated{"x.npy", x_.content, 8};
  const fingerprint::Digest digest = open(archive_of({x_}).bytes()).fingerprint();
  EXPECT_EQ(open(archive_of({deflated}).bytes("a comment")).fingerprint(), digest);
  EXPECT_NE(open(archive_of({{"x.npy", array_of("abce")}}).bytes()).fingerprint(), digest);
}

TEST_F(Npz, ReadsZip64) {
  Entry x = x_;
  x.zip64 = true;
  EXPECT_EQ(open(archive_of({x, y_}).bytes()).size(), 4);
  EXPECT_EQ(open(archive_of({x, y_}).bytes64()).size(), 4);
}

TEST_F(Npz, ChoosesArraysByName) {
  const Entry scalar{"note.txt", "hello"};
  const Entry other{"z.npy", array_of("ij")};
  const std::string bytes = archive_of({x_, other, scalar, y_}).bytes();
  const NpzDataset dataset = open(bytes, {"y", "x"});
  EXPECT_EQ(dataset.fields()[0].name, "y");
  EXPECT_EQ(dataset.fields().size(), 2u);
  expect_error(ErrorCode::not_found, {"one of x, z, y", "got w"}, [&] { open(bytes, {"w"}); });
  expect_refused(ErrorCode::invalid_argument, bytes, {"zs that do not match xs", "a.npz:z.npy", "got 2"});
}

TEST_F(Npz, RefusesEveryTruncationAndAppendix) {
  const std::string good = archive_of({x_, y_}).bytes();
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    expect_error(ErrorCode::corruption, {"a.npz"}, [&] { open(good.substr(0, bytes)); });
  }
  expect_refused(ErrorCode::corruption, good + "x", {"no end of central directory"});
  expect_refused(ErrorCode::corruption, "x" + good, {"it does not lie before its end record"});
}

TEST_F(Npz, SeesEveryFlippedByte) {
  const std::string good = archive_of({x_, y_}).bytes();
  const NpzDataset whole = open(good);
  const fingerprint::Digest digest = whole.fingerprint();
  const std::vector<Field> fields = whole.fields();
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 0x40;
    try {
      // Times, versions and the like decide nothing; then the arrays are what they were. A name may become
      // another.
      const NpzDataset dataset = open(bad);
      if (dataset.fields() == fields) {
        EXPECT_EQ(dataset.fingerprint(), digest) << at;
      }
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << at;
    }
  }
}

TEST_F(Npz, ChecksTheCrc) {
  Archive archive = archive_of({x_});
  archive.local[archive.local.size() - 1] ^= 1;
  expect_refused(ErrorCode::corruption, archive.bytes(), {"CRC-32", "x.npy"});
}

TEST_F(Npz, RefusesEncryptionAndOtherMethods) {
  expect_refused(ErrorCode::unsupported, archive_of({{"x.npy", array_of("ab"), 0, 1}}).bytes(), {"encrypt"});
  expect_refused(ErrorCode::unsupported, archive_of({{"x.npy", array_of("ab"), 12}}).bytes(),
                 {"compression method", "got 12"});
}

TEST_F(Npz, RefusesDirectoriesThatLie) {
  Archive twice = archive_of({x_});
  twice.directory += twice.directory;
  twice.entries = 2;
  expect_refused(ErrorCode::corruption, twice.bytes(), {"'x.npy'", "twice"});

  Archive overlap = archive_of({x_, y_});
  Archive alone = archive_of({x_});
  std::string second = alone.directory;
  second[46] = 'w';
  overlap.directory += second;
  overlap.entries = 3;
  expect_refused(ErrorCode::corruption, overlap.bytes(), {"overlaps"});

  Archive outside = archive_of({x_});
  outside.directory.replace(42, 4, little(1 << 30, 4));
  expect_refused(ErrorCode::corruption, outside.bytes(), {"outside of"});

  Archive wrong = archive_of({x_});
  wrong.directory.replace(42, 4, little(1, 4));
  expect_refused(ErrorCode::corruption, wrong.bytes(), {"no local header"});

  Archive larger = archive_of({y_});
  larger.directory.replace(24, 4, little(y_.content.size() + 1, 4));
  expect_refused(ErrorCode::corruption, larger.bytes(), {"inflated size"});
  larger.directory.replace(24, 4, little(0xf0000000, 4));
  expect_refused(ErrorCode::corruption, larger.bytes(), {"cannot come from"});

  Archive missing = archive_of({x_});
  missing.entries = 2;
  expect_refused(ErrorCode::corruption, missing.bytes(), {"central directory"});
}

TEST_F(Npz, RefusesArchivesWithoutArrays) {
  expect_refused(ErrorCode::invalid_argument, archive_of({{"a.txt", "hello"}}).bytes(),
                 {"at least one .npy", "numpy.savez"});
  expect_refused(ErrorCode::invalid_argument, archive_of({}).bytes(), {"at least one .npy"});
  expect_refused(ErrorCode::corruption, archive_of({{"x.npy", gzip(array_of("ab"))}}).bytes(), {"magic"});
}

}  // namespace
}  // namespace lockstep::loader
