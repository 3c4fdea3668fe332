#include "lockstep/base/dtype.h"

#include <array>
#include <string>

#include "lockstep/base/error.h"

namespace lockstep {
namespace {

struct Row {
  std::string_view name;
  std::size_t bytes;
};

constexpr std::array<Row, 14> kRows{{{"", 0},
                                     {"bool", 1},
                                     {"uint8", 1},
                                     {"int8", 1},
                                     {"uint16", 2},
                                     {"int16", 2},
                                     {"uint32", 4},
                                     {"int32", 4},
                                     {"uint64", 8},
                                     {"int64", 8},
                                     {"float16", 2},
                                     {"bfloat16", 2},
                                     {"float32", 4},
                                     {"float64", 8}}};

const Row& row(DType dtype) {
  const auto number = static_cast<std::uint8_t>(dtype);
  if (!is_dtype(number)) {
    fail(ErrorCode::corruption, {"dtype", "number", "1 to 13", std::to_string(number), {}});
  }
  return kRows[number];
}

}  // namespace

bool is_dtype(std::uint8_t number) { return number >= 1 && number < kRows.size(); }

std::size_t dtype_bytes(DType dtype) { return row(dtype).bytes; }

std::string_view dtype_name(DType dtype) { return row(dtype).name; }

DType parse_dtype(std::string_view name) {
  for (std::size_t number = 1; number < kRows.size(); ++number) {
    if (kRows[number].name == name) return static_cast<DType>(number);
  }
  fail(ErrorCode::invalid_argument,
       {"dtype", "name", "a torch dtype such as float32", std::string(name), {}});
}

bool is_floating_point(DType dtype) {
  return dtype == DType::float16 || dtype == DType::bfloat16 || dtype == DType::float32 ||
         dtype == DType::float64;
}

}  // namespace lockstep
