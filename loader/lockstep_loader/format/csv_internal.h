#pragma once
// CSV from memory, for CsvDataset and the fuzzer.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"
#include "lockstep_loader/format/content_internal.h"
#include "lockstep_loader/format/csv.h"

namespace lockstep::loader {

/// Cuts a text into rows of cells.
class CsvScanner {
 public:
  /// `name` and `text` must outlive the scanner. A byte order mark is skipped.
  CsvScanner(const std::string& name, std::string_view text, char delimiter);

  /// The next row's cells, unquoted, valid until the next call; false at the end. Throws Error(corruption)
  /// for a quote that is not closed or that is followed by text.
  bool next(std::vector<std::string_view>& cells);

  /// The line on which the row that next() gave begins, from 1.
  std::int64_t line() const { return row_line_; }

 private:
  std::string_view cell();
  std::string_view quoted_cell();

  const std::string& name_;
  std::string_view text_;
  std::size_t at_ = 0;
  char delimiter_;
  std::int64_t line_ = 1;
  std::int64_t row_line_ = 1;
  std::deque<std::string> unquoted_;  // cells of this row that held doubled quotes
};

ColumnSet parse_csv(Content raw, const CsvOptions& options);

}  // namespace lockstep::loader
