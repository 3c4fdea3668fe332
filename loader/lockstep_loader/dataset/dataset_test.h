#pragma once
// What the tests of datasets share, also in other rooms.

#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// The bytes of each field of a record.
inline std::vector<std::vector<std::byte>> fetch(const Dataset& dataset, std::int64_t index,
                                                 const random::RecordKey& key = {}) {
  std::vector<std::vector<std::byte>> memory;
  std::vector<std::byte*> out;
  for (const Field& field : dataset.fields()) memory.emplace_back(field.bytes());
  for (auto& field : memory) out.push_back(field.data());
  dataset.prefetch(index);
  dataset.get(index, key, out);
  for (std::size_t field = 0; field < memory.size(); ++field) {
    const std::byte* const stored = dataset.in_memory(index, field);
    if (stored == nullptr) continue;
    EXPECT_EQ(std::memcmp(stored, memory[field].data(), memory[field].size()), 0) << field;
  }
  return memory;
}

/// One field of a record as numbers.
template <typename T>
std::vector<T> fetch_as(const Dataset& dataset, std::int64_t index, std::size_t field = 0,
                        const random::RecordKey& key = {}) {
  const std::vector<std::byte> bytes = fetch(dataset, index, key).at(field);
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// `call` must throw Error of `code`, and its message must hold each of `words`.
inline void expect_error(ErrorCode code, std::initializer_list<std::string> words,
                         const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error_code_name(error.code()), error_code_name(code)) << error.what();
    for (const std::string& word : words) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << "'" << word << "' is not in: " << error.what();
    }
  }
}

}  // namespace lockstep::loader
