#pragma once
// The data of the trainers: where it lies, and tables as columns of numbers.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::trainers {

/// The folder or file `relative` ("diabetes/diabetes.csv") of the data that come with the sources: below
/// ./data, beside the program's folder, or where the program was built. Throws Error(not_found) naming the
/// places.
std::filesystem::path shipped_data(const std::filesystem::path& relative);

/// `given`, else the full Fashion-MNIST where it is installed, else the subset that comes with the sources.
std::filesystem::path fashion_mnist_data(const std::filesystem::path& given);

/// The diabetes regression table: ten columns a patient, and how far the disease went on within a year.
struct PatientTable {
  std::vector<std::string> names;   ///< of the columns
  std::vector<double> columns;      ///< [patients, names.size()], as in the file
  std::vector<double> progression;  ///< [patients]
  std::string source;

  std::int64_t patients() const { return static_cast<std::int64_t>(progression.size()); }
};

/// `given` (a file, or a folder with diabetes.csv), or the table that comes with the sources. Throws
/// Error(not_found, corruption).
PatientTable read_patients(const std::filesystem::path& given);

/// Each column minus its mean, divided by its standard deviation (n - 1), in double and then rounded to
/// float. Throws Error(invalid_argument) for a column that is constant.
std::vector<float> standardised(const std::vector<double>& values, std::int64_t columns);

}  // namespace lockstep::trainers
