# Libraries that the rooms use. Those that only the inside of a room needs are linked PRIVATE there and reach a user's
# program as link dependencies of static archives, which cmake/lockstepConfig.cmake.in finds again: change both together.

# A project that adds this one as a subdirectory links our archives, and so must see what they are linked to.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(Boost 1.74 REQUIRED)                # Boost.Serialization's headers; nothing of Boost is linked
find_package(nlohmann_json 3.11 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(spng REQUIRED IMPORTED_TARGET GLOBAL spng)
pkg_check_modules(turbojpeg REQUIRED IMPORTED_TARGET GLOBAL libturbojpeg)
pkg_check_modules(hwy REQUIRED IMPORTED_TARGET GLOBAL libhwy)
find_path(RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
if(LOCKSTEP_TOOLS OR LOCKSTEP_TRAINERS)
  find_package(cxxopts 3 REQUIRED)
endif()
if(LOCKSTEP_TESTS)
  find_package(GTest 1.12 REQUIRED)
  include(GoogleTest)
  pkg_check_modules(mpfr REQUIRED IMPORTED_TARGET GLOBAL mpfr)  # judges the elementary functions; only their test links it
endif()
if(LOCKSTEP_BENCH)
  find_package(benchmark REQUIRED)
endif()
if(LOCKSTEP_CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
if(LOCKSTEP_TORCH)
  include(cmake/find_libtorch.cmake)
  lockstep_find_libtorch(trouble)
  if(trouble)
    message(FATAL_ERROR "lockstep: ${trouble}")
  endif()
  message(STATUS "LibTorch ${LOCKSTEP_TORCH_VERSION}: ${LOCKSTEP_TORCH_PREFIX}")
endif()
