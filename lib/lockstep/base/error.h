#pragma once
// The one exception of the library. The library never prints and never exits: it throws Error, and a program
// decides.

#include <stdexcept>
#include <string>
#include <string_view>

namespace lockstep {

enum class ErrorCode {
  invalid_argument,  ///< the caller passed something that can never work
  not_found,         ///< a file, folder or name does not exist
  corruption,        ///< data that was read is not what its format or checksum demands
  io,                ///< the operating system refused to read or write
  unsupported,       ///< a promise that cannot be kept, or a feature that this build lacks
  out_of_memory,     ///< memory, of the machine or of a device, that is not there
  internal,          ///< a bug of this library
};

/// "invalid_argument", "not_found", …
std::string_view error_code_name(ErrorCode code);

/// The parts of a message. Any part may be empty but `where` and `what`.
struct ErrorParts {
  std::string where;     ///< operation or file: "idx", "data/train-images.gz"
  std::string what;      ///< the argument or the thing that is wrong: "batch_size", "magic number"
  std::string expected;  ///< "a positive number"
  std::string got;       ///< "0"
  std::string next;      ///< what the person should do: "pass --batch-size 1 or more"
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const ErrorParts& parts);
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Throws Error: "<where>: <what>: expected <expected>, got <got>. <next>".
[[noreturn]] void fail(ErrorCode code, const ErrorParts& parts);

/// Throws Error(io or not_found, …) for the errno value `error`, with the system's own words as `got`.
[[noreturn]] void fail_errno(int error, std::string where, std::string what, std::string next = {});

}  // namespace lockstep
