#pragma once
// Programs as a person runs them: arguments in, exit code and both streams out.

#include <filesystem>
#include <string>
#include <sys/types.h>
#include <vector>

#include "lockstep/base/temporary_folder_test.h"

namespace lockstep::test {

struct Finished {
  int code = -1;  ///< exit code; 128 + signal when a signal ended it
  std::string out, err;
};

/// A program that runs.
class Process {
 public:
  /// `program` is a name below the build's bin folder; `environment` holds NAME=value entries that are added.
  Process(const std::string& program, const std::vector<std::string>& arguments,
          const std::vector<std::string>& environment = {});
  void send(int signal) const;
  bool running();
  Finished wait();

 private:
  TemporaryFolder streams_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

Finished run(const std::string& program, const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment = {});

std::string read_text(const std::filesystem::path& file);

}  // namespace lockstep::test
