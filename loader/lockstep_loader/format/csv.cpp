#include "lockstep_loader/format/csv.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/csv_internal.h"

namespace lockstep::loader {
namespace {

/// Where a cell of the table goes.
struct Target {
  std::size_t field;
  std::size_t column;
};

/// What a cell is called in messages, and how it is read.
struct Place {
  const std::string& file;
  std::int64_t line;
  const std::string& column;
  bool allow_non_finite;
};

[[noreturn]] void fail_cell(const Place& place, const std::string& expected, std::string_view text) {
  const std::string got = text.empty() ? "a missing value" : fmt::format("'{}'", text.substr(0, 40));
  fail(ErrorCode::corruption,
       {fmt::format("{}:{}", place.file, place.line), fmt::format("column '{}'", place.column), expected, got,
        "Correct or remove the row, or leave the column out."});
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

template <typename T>
T parse_number(std::string_view cell, const Place& place) {
  const std::string expected = std::string(dtype_name(dtype_of<T>()));
  std::string_view text = trimmed(cell);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range)
    fail_cell(place, fmt::format("a number within {}", expected), cell);
  if (error != std::errc{} || end != text.data() + text.size()) fail_cell(place, expected, cell);
  if constexpr (std::is_floating_point_v<T>) {
    if (!place.allow_non_finite && !std::isfinite(value))
      fail_cell(place, fmt::format("a finite {}", expected), cell);
  }
  return value;
}

template <typename T>
void append_number(std::vector<std::byte>& memory, std::string_view cell, const Place& place) {
  const T value = parse_number<T>(cell, place);
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  memory.insert(memory.end(), bytes, bytes + sizeof(T));
}

void append_cell(std::vector<std::byte>& memory, DType dtype, std::string_view cell, const Place& place) {
  if (dtype == DType::float32) append_number<float>(memory, cell, place);
  if (dtype == DType::float64) append_number<double>(memory, cell, place);
  if (dtype == DType::int64) append_number<std::int64_t>(memory, cell, place);
}

std::vector<CsvField> chosen_fields(const CsvOptions& options, const std::vector<std::string>& columns) {
  std::vector<CsvField> fields = options.fields;
  if (fields.empty()) {
    for (const std::string& column : columns) fields.push_back({column, {column}});
  }
  for (const CsvField& field : fields) {
    const bool good =
        field.dtype == DType::float32 || field.dtype == DType::float64 || field.dtype == DType::int64;
    if (!good) {
      fail(ErrorCode::invalid_argument, {"csv",
                                         fmt::format("dtype of field '{}'", field.name),
                                         "float32, float64 or int64",
                                         std::string(dtype_name(field.dtype)),
                                         {}});
    }
    if (field.columns.empty()) {
      fail(ErrorCode::invalid_argument,
           {"csv", fmt::format("columns of field '{}'", field.name), "at least one", "none", {}});
    }
  }
  return fields;
}

/// Parses one table; an object of one call.
class TableParser {
 public:
  TableParser(const Content& content, const CsvOptions& options)
      : file_(content.name),
        options_(options),
        scanner_(content.name, {reinterpret_cast<const char*>(content.bytes.data()), content.bytes.size()},
                 options.delimiter) {}

  ColumnSet parse() {
    bool more = scanner_.next(cells_);
    name_columns(more);
    if (more && options_.header) more = scanner_.next(cells_);
    fields_ = chosen_fields(options_, columns_);
    find_columns();
    memory_ = std::make_shared<std::vector<std::vector<std::byte>>>(fields_.size());
    for (; more; more = scanner_.next(cells_)) append_row();
    return finish();
  }

 private:
  void name_columns(bool any) {
    if (!any)
      fail(ErrorCode::corruption,
           {file_, "table", options_.header ? "a header row" : "at least one row", "an empty file", {}});
    for (std::size_t at = 0; at < cells_.size(); ++at) {
      columns_.push_back(options_.header ? std::string(trimmed(cells_[at])) : fmt::to_string(at));
    }
  }

  void find_columns() {
    for (std::size_t field = 0; field < fields_.size(); ++field) {
      for (const std::string& name : fields_[field].columns) targets_.push_back({field, find_column(name)});
    }
  }

  std::size_t find_column(const std::string& name) const {
    std::size_t found = columns_.size();
    for (std::size_t at = 0; at < columns_.size(); ++at) {
      if (columns_[at] != name) continue;
      if (found < columns_.size()) {
        fail(ErrorCode::invalid_argument,
             {file_, "header row", fmt::format("one column '{}'", name), "several", "Rename them."});
      }
      found = at;
    }
    if (found < columns_.size()) return found;
    fail(ErrorCode::not_found, {file_,
                                "column",
                                fmt::format("one of {}", fmt::join(columns_, ", ")),
                                fmt::format("'{}'", name),
                                {}});
  }

  void append_row() {
    if (cells_.size() != columns_.size()) {
      fail(ErrorCode::corruption,
           {fmt::format("{}:{}", file_, scanner_.line()), "row", fmt::format("{} columns", columns_.size()),
            fmt::to_string(cells_.size()), "Correct or remove the row."});
    }
    for (const Target& target : targets_) {
      const Place place{file_, scanner_.line(), columns_[target.column], options_.allow_non_finite};
      append_cell((*memory_)[target.field], fields_[target.field].dtype, cells_[target.column], place);
    }
    ++rows_;
  }

  ColumnSet finish() {
    ColumnSet set{.kind = "csv", .description = "csv " + file_, .records = rows_};
    for (std::size_t at = 0; at < fields_.size(); ++at) {
      const CsvField& from = fields_[at];
      Field field{from.name, from.dtype, {}};
      if (from.columns.size() > 1 || from.vector)
        field.shape = {static_cast<std::int64_t>(from.columns.size())};
      const auto stride_bytes = static_cast<std::int64_t>(field.bytes());
      set.columns.push_back({std::move(field), (*memory_)[at].data(), stride_bytes});
      set.content.emplace_back((*memory_)[at]);
    }
    set.owner = std::move(memory_);
    return set;
  }

  const std::string& file_;
  const CsvOptions& options_;
  CsvScanner scanner_;
  std::vector<std::string_view> cells_;
  std::vector<std::string> columns_;
  std::vector<CsvField> fields_;
  std::vector<Target> targets_;
  std::shared_ptr<std::vector<std::vector<std::byte>>> memory_;
  std::int64_t rows_ = 0;
};

}  // namespace

ColumnSet parse_csv(Content raw, const CsvOptions& options) {
  if (std::string_view("\"\r\n").find(options.delimiter) != std::string_view::npos) {
    fail(ErrorCode::invalid_argument,
         {"csv", "delimiter", "a character other than a quote or a line's end", "one of them", {}});
  }
  const Content content = ContentReader(std::move(raw)).all(options.max_inflated_bytes);
  return TableParser(content, options).parse();
}

CsvDataset::CsvDataset(const std::filesystem::path& path, const CsvOptions& options)
    : ColumnDataset(parse_csv(map_file(path), options)) {}

}  // namespace lockstep::loader
