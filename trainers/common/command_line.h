#pragma once
// Options of a trainer: from the command line, else from LOCKSTEP_<NAME>, else the default. So a program like
// check_consistency can set LOCKSTEP_WORKERS=4, and a person who types --workers 1 still gets what was typed.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

namespace lockstep::trainers {

class CommandLine {
 public:
  /// `example` is one command with arguments that works from the root of the source tree.
  CommandLine(std::string program, std::string summary, std::string example);

  /// Declares --name VALUE. Names are lower case with '-'; the variable is LOCKSTEP_NAME with '_'.
  void option(const std::string& name, const std::string& fallback, const std::string& help);
  /// Declares --name, or --name=VALUE; `alone` is its value when it stands alone.
  void option_with_implied_value(const std::string& name, const std::string& fallback,
                                 const std::string& alone, const std::string& help);
  /// Declares --name without a value. The variable takes 1, true, yes, on, 0, false, no or off.
  void flag(const std::string& name, const std::string& help);

  /// False when --help or --version was asked for and printed. Throws Error(invalid_argument) for what is not
  /// declared.
  bool parse(int argc, const char* const* argv);

  /// The readers below throw Error(invalid_argument) naming the option or variable, what it takes and what it
  /// was given.
  std::string text(const std::string& name) const;
  std::int64_t integer(const std::string& name, std::int64_t least) const;
  std::uint64_t seed(const std::string& name) const;  ///< 0 … 2^64 - 1
  double number(const std::string& name) const;       ///< finite
  bool flag(const std::string& name) const;
  std::string choice(const std::string& name, std::initializer_list<const char*> allowed) const;
  /// True when the value does not come from the default.
  bool given(const std::string& name) const;

  const std::vector<std::string>& arguments() const { return arguments_; }
  const std::string& program() const { return program_; }

 private:
  struct Declared {
    std::string name, help, value;
    std::string implied = {};  // not empty: the value may be left out
    bool is_flag = false;
    std::string source = {};  // "--workers" or "LOCKSTEP_WORKERS"; empty for the default
  };

  const Declared& declared(const std::string& name) const;
  [[noreturn]] void refuse(const Declared& option, const std::string& expected) const;
  void read_environment();

  std::string program_, summary_, example_;
  std::vector<Declared> options_;
  std::map<std::string, std::size_t> places_;
  std::vector<std::string> arguments_;
};

}  // namespace lockstep::trainers
