#pragma once
// Uses a dataset as a loader does.

#include <cstddef>
#include <cstdlib>
#include <vector>

#include "fuzz.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::fuzz {

/// Describes, fingerprints and reads the first, the middle and the last record. A record that throws Error is
/// a bad sample; one that reads or writes out of bounds is for the sanitizers.
inline void use(const loader::Dataset& dataset) {
  if (dataset.describe().empty() || dataset.fields().empty() || dataset.size() < 0) std::abort();
  if (dataset.fingerprint() != dataset.fingerprint()) std::abort();
  if (dataset.size() == 0) return;
  std::vector<std::vector<std::byte>> memory;
  std::vector<std::byte*> out;
  for (const loader::Field& field : dataset.fields()) memory.emplace_back(field.bytes());
  for (auto& field : memory) out.push_back(field.data());
  for (const std::int64_t index : {std::int64_t{0}, dataset.size() / 2, dataset.size() - 1}) {
    dataset.prefetch(index);
    expect_no_bug([&] { dataset.get(index, {}, out); });
  }
}

}  // namespace lockstep::fuzz
