#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/embedding/embedding_internal.h"

namespace lockstep::embedding_rows {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or copy the memory to the CPU."});
}

}  // namespace

void forward_cuda(const Embedding&, void*) { refuse("embedding"); }
void backward_cuda(const EmbeddingBackward&, void*) { refuse("embedding_backward"); }
std::int64_t backward_scratch_bytes(const EmbeddingBackward&) { refuse("embedding_backward_scratch_bytes"); }

}  // namespace lockstep::embedding_rows
