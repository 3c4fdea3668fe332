#pragma once
// Marks functions that the host and the device compile from one text. Headers that use it stay C++17.

#if defined(__CUDACC__)
#define LOCKSTEP_HOST_DEVICE __host__ __device__
#else
#define LOCKSTEP_HOST_DEVICE
#endif
