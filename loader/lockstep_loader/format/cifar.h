#pragma once
// The binary version of CIFAR-10 and CIFAR-100 (cs.toronto.edu/~kriz/cifar.html): records of label bytes and
// 3,072 channel-first pixels, no header. Plain files are mapped; gzip ones are inflated into memory.
// Thread-safety: immutable.
//
//   CifarDataset train({"data_batch_1.bin", "data_batch_2.bin"}, CifarKind::cifar10);

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lockstep_loader/dataset/concat.h"

namespace lockstep::loader {

enum class CifarKind : std::uint8_t {
  cifar10,   ///< 3,073-byte records; fields image uint8 [3, 32, 32], label uint8 [] (0 to 9)
  cifar100,  ///< 3,074-byte records; fields image, label (fine, 0 to 99), coarse_label (0 to 19)
};

/// The files one after the other. The fingerprint covers kind, counts and records (digest_content's rule a
/// file).
class CifarDataset final : public ConcatDataset {
 public:
  /// A gzip file inflates to at most `max_inflated_bytes`, for nothing in it says how large it may be. Throws
  /// Error(not_found), Error(io); Error(corruption) for a size that is no multiple of a record or a label out
  /// of range, which is all by which a wrong file can be told; Error(invalid_argument) for no files;
  /// Error(unsupported) above the limit.
  CifarDataset(const std::vector<std::filesystem::path>& files, CifarKind kind,
               std::uint64_t max_inflated_bytes = std::uint64_t{4} << 30);
};

}  // namespace lockstep::loader
