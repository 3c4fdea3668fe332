#include "check.h"

#include <algorithm>
#include <set>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "child.h"
#include "lockstep/base/error.h"
#include "lockstep/record/reader.h"

namespace lockstep::tools {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kShownLines = 12;

/// One line on a terminal, rewritten a few times a second; nothing elsewhere.
class Progress {
 public:
  explicit Progress(bool wanted) : shown_(wanted && isatty(STDERR_FILENO)) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const std::string& text, double seconds) {
    constexpr double kEvery = 0.2;
    if (!shown_ || (seconds > 0 && seconds < last_ + kEvery)) return;
    last_ = seconds;
    fmt::print(stderr, "\r\x1b[K{}  {:.1f} s", text, seconds);
    std::fflush(stderr);
  }
  void clear() const {
    if (shown_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  bool shown_;
  double last_ = 0;
};

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    fail_errno(error.value(), folder.string(), "folder cannot be made",
               "Name a folder that can be written with --dir");
  if (!fs::is_empty(folder)) {
    fail(ErrorCode::invalid_argument, {folder.string(), "folder of a run", "an empty folder", "files in it",
                                       "Name another folder with --dir, or remove this one"});
  }
}

std::string no_recording(const fs::path& folder) {
  return fmt::format(
      "the command ended well but left no recording in {}. Let it record into $LOCKSTEP_RECORD, or put "
      "{{record}} into "
      "its arguments (trainers: --record {{record}})",
      folder.string());
}

std::string output_of(const fs::path& log) {
  const std::string lines = last_lines(log, kShownLines);
  return lines.empty() ? fmt::format("it printed nothing ({})", log.string())
                       : fmt::format("its last lines ({}):{}", log.string(), lines);
}

bool has_recording(const fs::path& folder) {
  std::vector<fs::path> unreadable;
  return !record::find_runs(folder, &unreadable).empty() || !unreadable.empty();
}

class Check {
 public:
  Check(const CheckConsistencyOptions& options, const fs::path& folder)
      : options_(options), folder_(folder), progress_(!options.quiet) {
    auto& result = result_.consistency;
    result.command = options.command;
    for (const auto& axis : options.axes) result.axes.push_back(axis.name);
    if (options.runs > 1) result.axes.push_back("run");
  }

  CheckResult run() {
    const auto wanted = combinations(options_.axes, options_.runs);
    for (std::size_t i = 0; i < wanted.size() && !result_.interrupted; ++i) {
      one(wanted[i], i, wanted.size());
      if (i == 0 && !result_.consistency.runs.front().problem.empty()) break;
    }
    progress_.clear();
    if (!result_.interrupted) warn_of_axes_without_effect();
    return std::move(result_);
  }

 private:
  void one(const Combination& combination, std::size_t index, std::size_t count) {
    record::ConsistencyRun run;
    run.values = combination.values;
    if (options_.runs > 1) run.values.push_back(std::to_string(combination.run));
    const fs::path folder = folder_ / combination.folder_name;
    run.folder = folder.string();
    make_folder(folder);
    const fs::path log = folder / "output.log";
    const std::string title = fmt::format("[{}/{}] {}", index + 1, count, combination.folder_name.substr(3));
    progress_.show(title, 0);
    const ChildResult child =
        run_child(command_of(options_.command, options_.axes, combination, folder),
                  environment_of(options_.axes, combination, folder), log, options_.timeout_seconds,
                  [&](double seconds) { progress_.show(title, seconds); });
    run.seconds = child.seconds;
    result_.interrupted = child.interrupted;
    if (!child.succeeded()) {
      run.problem = child.text();
      run.problem_detail = output_of(log);
    } else if (!has_recording(folder)) {
      run.problem = "no recording";
      run.problem_detail = no_recording(folder) + "; " + output_of(log);
    } else if (index > 0) {
      compare(&run);
    }
    result_.consistency.runs.push_back(std::move(run));
  }

  void compare(record::ConsistencyRun* run) {
    const std::string& first = result_.consistency.runs.front().folder;
    run->comparison = record::compare_runs(record::open_run(first), record::open_run(run->folder));
    run->comparison->file_a = first, run->comparison->file_b = run->folder;
  }

  /// A person who varies what the command does not listen to would take silence for proof.
  void warn_of_axes_without_effect() {
    for (std::size_t axis = 0; axis < options_.axes.size(); ++axis) {
      const Axis& varied = options_.axes[axis];
      if (varied.values.size() < 2 || in_command(varied) || !recorded_without_change(axis)) continue;
      result_.consistency.warnings.push_back(fmt::format(
          "nothing tells that the command took {}: what it recorded is the same for {} = {}. Put {} into its "
          "arguments, "
          "or let it read "
          "${}",
          varied.name, varied.name, fmt::join(varied.values, ", "), varied.placeholder(), varied.variable()));
    }
  }

  bool in_command(const Axis& axis) const {
    return std::any_of(options_.command.begin(), options_.command.end(), [&](const std::string& argument) {
      return argument.find(axis.placeholder()) != argument.npos;
    });
  }

  /// True when all runs with a recording name the same setting for the axis though they got different values.
  bool recorded_without_change(std::size_t axis) const {
    std::set<std::string> given, recorded;
    for (const auto& run : result_.consistency.runs) {
      const auto info = info_of(run);
      if (!info) continue;
      given.insert(run.values[axis]);
      recorded.insert(recorded_value(*info, options_.axes[axis].name));
    }
    return given.size() > 1 && recorded.size() == 1;
  }

  static std::optional<record::RunInfo> info_of(const record::ConsistencyRun& run) {
    if (!run.problem.empty()) return std::nullopt;
    return record::Reader(record::open_run(run.folder).files.front()).info();
  }

  static std::string recorded_value(const record::RunInfo& info, std::string name) {
    for (int spelling = 0; spelling < 2; ++spelling) {
      for (const auto* settings : {&info.placement, &info.semantic}) {
        const auto found = settings->find(name);
        if (found != settings->end()) return found->second;
      }
      std::replace(name.begin(), name.end(), '-', '_');
    }
    return {};
  }

  const CheckConsistencyOptions& options_;
  fs::path folder_;
  Progress progress_;
  CheckResult result_;
};

}  // namespace

CheckResult check_consistency(const CheckConsistencyOptions& options, const fs::path& folder) {
  return Check(options, folder).run();
}

}  // namespace lockstep::tools
