#pragma once
// What template.cpp chooses from, one function a device. C++17: template_cuda.cu sees it.

#include <cstdint>

namespace lockstep {

void template_op_cpu(const float* x, float* y, std::int64_t rows, std::int64_t features);
void template_op_cuda(const float* x, float* y, std::int64_t rows, std::int64_t features, void* stream);

}  // namespace lockstep
