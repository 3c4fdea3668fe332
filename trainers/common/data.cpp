#include "common/data.h"

#include <cmath>
#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/csv.h"
#include "lockstep_loader/format/fashion_mnist.h"

namespace lockstep::trainers {
namespace {

namespace fs = std::filesystem;

fs::path program_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : program.parent_path();
}

struct Scale {
  double mean = 0, deviation = 0;
};

Scale scale_of(const std::vector<double>& values, std::size_t column, std::size_t columns) {
  const std::size_t rows = values.size() / columns;
  double sum = 0, squares = 0;
  for (std::size_t row = 0; row < rows; ++row) sum += values[row * columns + column];
  const double mean = sum / static_cast<double>(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const double distance = values[row * columns + column] - mean;
    squares += distance * distance;
  }
  return {mean, std::sqrt(squares / static_cast<double>(rows - 1))};
}

}  // namespace

fs::path shipped_data(const fs::path& relative) {
  const std::vector<fs::path> places = {
      fs::path("data") / relative, program_folder() / "../share/lockstep/data" / relative,
      program_folder() / "../../data" / relative, fs::path(LOCKSTEP_DATA_DIR) / relative};
  std::vector<std::string> names;
  for (const fs::path& place : places) {
    if (fs::exists(place)) return place;
    names.push_back(place.lexically_normal().string());
  }
  fail(ErrorCode::not_found, {"data", relative.string(), fmt::format("one of {}", fmt::join(names, ", ")),
                              "none of them", "Pass --data with the place where it lies"});
}

fs::path fashion_mnist_data(const fs::path& given) {
  if (!given.empty()) return given;
  const fs::path installed = loader::fashion_mnist_folder({});
  return installed.empty() ? shipped_data("fashion-mnist") : installed;
}

PatientTable read_patients(const fs::path& given) {
  fs::path file = given.empty() ? shipped_data("diabetes/diabetes.csv") : given;
  if (fs::is_directory(file)) file /= "diabetes.csv";
  const std::vector<std::string> names = {"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"};
  const loader::CsvDataset table(file, {.fields = {{"columns", names, DType::float64, true},
                                                   {"progression", {"progression"}, DType::float64}}});
  const auto patients = static_cast<std::size_t>(table.size());
  PatientTable result{names, std::vector<double>(patients * names.size()), std::vector<double>(patients),
                      file.string()};
  for (std::size_t patient = 0; patient < patients; ++patient) {
    std::byte* const out[] = {reinterpret_cast<std::byte*>(&result.columns[patient * names.size()]),
                              reinterpret_cast<std::byte*>(&result.progression[patient])};
    table.get(static_cast<std::int64_t>(patient), {}, out);
  }
  return result;
}

std::vector<float> standardised(const std::vector<double>& values, std::int64_t columns) {
  const auto width = static_cast<std::size_t>(columns);
  std::vector<float> result(values.size());
  for (std::size_t column = 0; column < width; ++column) {
    const Scale scale = scale_of(values, column, width);
    if (!(scale.deviation > 0))
      fail(ErrorCode::invalid_argument,
           {"standardised", fmt::format("column {}", column), "values that differ", "one value in all rows",
            "Leave this column out"});
    for (std::size_t i = column; i < values.size(); i += width)
      result[i] = static_cast<float>((values[i] - scale.mean) / scale.deviation);
  }
  return result;
}

}  // namespace lockstep::trainers
