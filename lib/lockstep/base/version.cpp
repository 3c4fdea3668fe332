#include "lockstep/base/version.h"

#include <fstream>

#include "lockstep/base/build_info_internal.h"

namespace lockstep {

const BuildInfo& build_info() {
  static const BuildInfo info{LOCKSTEP_VERSION,    LOCKSTEP_COMMIT,        LOCKSTEP_COMPILER,
                              LOCKSTEP_BUILD_TYPE, LOCKSTEP_NUMERIC_FLAGS, LOCKSTEP_CUDA_VERSION};
  return info;
}

std::string cpu_instruction_set() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
  if (__builtin_cpu_supports("sse4.2")) return "sse4";
  return "sse2";
#else
  return "generic";
#endif
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string version_text(std::string_view program, std::string_view instruction_set) {
  const BuildInfo& info = build_info();
  std::string text(program);
  text += " (lockstep) " + info.version + "\n";
  text += "commit           " + info.commit + "\n";
  text += "compiler         " + info.compiler + ", " + info.build_type + "\n";
  text += "numeric flags    " + info.numeric_flags + "\n";
  text += "cuda             " + info.cuda + "\n";
  text += "instruction set  " + std::string(instruction_set) + "\n";
  return text;
}

}  // namespace lockstep
