#include "lockstep/base/error.h"

#include <cerrno>
#include <system_error>

namespace lockstep {
namespace {

std::string compose(const ErrorParts& parts) {
  std::string text = parts.where + ": " + parts.what;
  if (!parts.expected.empty()) text += ": expected " + parts.expected;
  if (!parts.got.empty()) text += (parts.expected.empty() ? ": " : ", got ") + parts.got;
  if (!parts.next.empty()) text += ". " + parts.next;
  return text;
}

}  // namespace

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::corruption:
      return "corruption";
    case ErrorCode::io:
      return "io";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

Error::Error(ErrorCode code, const ErrorParts& parts) : std::runtime_error(compose(parts)), code_(code) {}

void fail(ErrorCode code, const ErrorParts& parts) { throw Error(code, parts); }

void fail_errno(int error, std::string where, std::string what, std::string next) {
  const ErrorCode code = error == ENOENT ? ErrorCode::not_found : ErrorCode::io;
  const std::string got = std::generic_category().message(error);
  throw Error(code, ErrorParts{std::move(where), std::move(what), {}, got, std::move(next)});
}

}  // namespace lockstep
