#pragma once
// Python's DataLoader, in a process of its own that runs an epoch when it is asked to and tells how long it
// took.

#include <filesystem>
#include <string>

namespace lockstep::bench {

class PythonRival {
 public:
  /// Starts `interpreter python_dataloader.py --serve <images> <labels>` on uncompressed IDX content given as
  /// files. Throws Error(io) when it cannot be started or does not answer (no torch there).
  PythonRival(const std::string& interpreter, const std::filesystem::path& images,
              const std::filesystem::path& labels);
  ~PythonRival();
  PythonRival(const PythonRival&) = delete;
  PythonRival& operator=(const PythonRival&) = delete;

  const std::string& version() const { return version_; }
  /// One epoch; returns when Python has finished it. `kind` is "items" or "batched".
  void epoch(const std::string& kind, long batch_size, int workers);

 private:
  std::string ask(const std::string& line);
  std::string read_line();

  int to_child_ = -1, from_child_ = -1;
  int child_ = -1;
  std::string version_;
};

}  // namespace lockstep::bench
