#pragma once
// Tables in CSV (RFC 4180) as numbers. The file, plain or gzip, is parsed into memory when opened.
// Thread-safety: immutable.
//
//   CsvDataset table("diabetes.csv", {.fields = {{"features", {"age", "bmi", "bp"}}, {"target",
//   {"progression"}}}});

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"

namespace lockstep::loader {

/// One field of the dataset, from one or more columns of the table.
struct CsvField {
  std::string name;
  std::vector<std::string> columns;  ///< in order; shape [] for one, [k] for k
  DType dtype = DType::float32;      ///< float32, float64 or int64
  bool vector = false;               ///< shape [1] for one column
};

struct CsvOptions {
  std::vector<CsvField> fields = {};  ///< empty: every column is a float32 field of its own, under its name
  bool header = true;                 ///< first row names the columns; false: they are called "0", "1", …
  char delimiter = ',';
  bool allow_non_finite =
      false;  ///< take "nan" and "inf" in floating-point columns, where they often mean "missing"
  std::uint64_t max_inflated_bytes = std::uint64_t{4} << 30;  ///< of a gzip file
};

/// A number may be quoted, signed and surrounded by blanks; it is rounded to its dtype correctly and in every
/// locale alike. Columns that no field names may hold anything. Empty lines at the end are ignored. The
/// fingerprint covers fields, counts and numbers.
class CsvDataset final : public ColumnDataset {
 public:
  /// Throws Error(not_found) for a missing file or column (naming those there are); Error(corruption), naming
  /// line and column, for a missing value, for what is no number or does not fit, for a row of another
  /// length, an open quote or text behind a quote; Error(invalid_argument) for another dtype or a doubled
  /// name.
  explicit CsvDataset(const std::filesystem::path& path, const CsvOptions& options = {});
};

}  // namespace lockstep::loader
