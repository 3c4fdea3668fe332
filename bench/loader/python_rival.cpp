#include "loader/python_rival.h"

#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lockstep/base/error.h"

extern char** environ;

namespace lockstep::bench {

PythonRival::PythonRival(const std::string& interpreter, const std::filesystem::path& images,
                         const std::filesystem::path& labels) {
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) fail_errno(errno, "python", "pipe");
  std::signal(SIGPIPE, SIG_IGN);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], 0);
  posix_spawn_file_actions_adddup2(&actions, from[1], 1);
  std::string words[] = {interpreter, PYTHON_DATALOADER, "--serve", images.string(), labels.string()};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(),
                       words[3].data(), words[4].data(), nullptr};
  const int error = posix_spawnp(&child_, interpreter.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(to[0]), ::close(from[1]);
  to_child_ = to[1], from_child_ = from[0];
  if (error != 0) fail_errno(error, interpreter, "python", "Pass --python <an interpreter that has torch>.");
  version_ = read_line();
}

PythonRival::~PythonRival() {
  ::close(to_child_);  // the script ends with its input
  ::close(from_child_);
  if (child_ > 0) ::waitpid(child_, nullptr, 0);
}

void PythonRival::epoch(const std::string& kind, long batch_size, int workers) {
  const std::string answer = ask(fmt::format("{} {} {}\n", kind, batch_size, workers));
  if (answer != "done") fail(ErrorCode::io, {"python", "answer", "done", answer, ""});
}

std::string PythonRival::ask(const std::string& line) {
  if (::write(to_child_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    fail_errno(errno, "python", "write");
  }
  return read_line();
}

std::string PythonRival::read_line() {
  std::string line;
  for (char letter = 0; ::read(from_child_, &letter, 1) == 1; line += letter) {
    if (letter == '\n') return line;
  }
  fail(ErrorCode::io,
       {"python", "output", "a line", "its end", "Try the script alone: python python_dataloader.py --help"});
}

}  // namespace lockstep::bench
