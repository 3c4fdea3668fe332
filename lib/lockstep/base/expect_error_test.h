#pragma once
// For the tests of every room: a call is refused, with the code and the words that a person needs.

#include <string>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"

namespace lockstep {

template <class Call>
void expect_error(ErrorCode code, const std::string& words, Call call) {
  try {
    call();
    FAIL() << "accepted; expected an error with '" << words << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

/// The same, with the usual code where none is given.
template <class Call>
void expect_refusal(Call call, const std::string& words, ErrorCode code = ErrorCode::invalid_argument) {
  expect_error(code, words, call);
}

}  // namespace lockstep
