#include "lockstep/state/archive.h"

namespace lockstep::state::detail {

void fail_truncated(std::size_t wanted_bytes, std::size_t remaining_bytes) {
  fail(ErrorCode::corruption, {"archive",
                               "bytes missing",
                               std::to_string(wanted_bytes) + " more bytes",
                               std::to_string(remaining_bytes),
                               {}});
}

void fail_count(std::uint64_t count, std::size_t remaining_bytes) {
  fail(ErrorCode::corruption, {"archive",
                               "impossible count",
                               "what fits in the " + std::to_string(remaining_bytes) + " bytes that remain",
                               std::to_string(count),
                               {}});
}

void fail_left_over(std::size_t bytes) {
  fail(ErrorCode::corruption,
       {"archive", "bytes after the value", "none", std::to_string(bytes), "Written by another version?"});
}

void fail_flag(const char* what, unsigned got) {
  fail(ErrorCode::corruption, {"archive", std::string(what) + " flag", "0 or 1", std::to_string(got), {}});
}

void fail_key_order() {
  fail(ErrorCode::corruption, {"archive", "map keys", "strictly ascending keys", "another order", {}});
}

void fail_depth() {
  fail(ErrorCode::corruption,
       {"archive", "nesting of structures", "at most " + std::to_string(kMaxDepth) + " levels", "more", {}});
}

void fail_empty_element() {
  fail(ErrorCode::corruption, {"archive", "element of a list", "an encoding of at least 1 byte", "none",
                               "Give the element's structure a member"});
}

}  // namespace lockstep::state::detail
