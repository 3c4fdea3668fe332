#include "lockstep_loader/sampler/sampler.h"

#include "lockstep/base/error.h"

namespace lockstep::loader {

void Sampler::restore(const std::string& bytes) {
  if (bytes.empty()) return;
  fail(ErrorCode::invalid_argument,
       {"sampler", "state", "none, since \"" + describe() + "\" has no generator",
        std::to_string(bytes.size()) + " bytes", "Restore with the sampler that the state was taken from"});
}

}  // namespace lockstep::loader
