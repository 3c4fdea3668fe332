# lockstep_room(<name> [DEPENDS room…] [PRIVATE library…] [PUBLIC library…] [NAMESPACE lockstep|lockstep_loader] [TORCH])
#
# Makes a room of the current folder, by the suffixes of its files (closed set, see docs/index.md):
#   *.cpp                 the static library lockstep_<name> (lockstep_loader_<name> in the loader)
#   *_cuda.cu             with LOCKSTEP_CUDA, else *_no_cuda.cpp, the stub that says so
#   *_test.cpp            one GoogleTest program, label unit (a test whose name holds Slow: slow; Gpu: gpu; both: slow_gpu)
#   *_bench.cpp           one Google Benchmark program, with LOCKSTEP_BENCH; a file needs no main
#   *.h                   a header file set, installed and verified to compile alone; *_internal.h and *_test.h never
# DEPENDS names rooms, and is the only way by which a room sees another one: the linker keeps the arrows.

function(lockstep_room name)
  cmake_parse_arguments(ROOM "TORCH" "NAMESPACE" "DEPENDS;PRIVATE;PUBLIC;TEST" ${ARGN})
  if(NOT ROOM_NAMESPACE)
    set(ROOM_NAMESPACE lockstep)
  endif()
  set(target ${ROOM_NAMESPACE}_${name})
  set(root ${PROJECT_SOURCE_DIR}/lib)
  set(component core)
  if(ROOM_NAMESPACE STREQUAL "lockstep_loader")
    set(root ${PROJECT_SOURCE_DIR}/loader)
    set(component loader)
  endif()
  if(ROOM_TORCH)
    set(component torch)
  endif()

  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  file(GLOB tests CONFIGURE_DEPENDS *_test.cpp)
  file(GLOB benches CONFIGURE_DEPENDS *_bench.cpp)
  file(GLOB stubs CONFIGURE_DEPENDS *_no_cuda.cpp)
  file(GLOB kernels CONFIGURE_DEPENDS *_cuda.cu)
  file(GLOB headers CONFIGURE_DEPENDS *.h)
  list(REMOVE_ITEM sources ${tests} ${benches} ${stubs})
  list(FILTER headers EXCLUDE REGEX "_(internal|test|vectors)\\.h$")
  if(LOCKSTEP_CUDA)
    list(APPEND sources ${kernels})
  else()
    list(APPEND sources ${stubs})
  endif()

  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    # Headers alone are needed to build the room, not to link a program with it.
    list(TRANSFORM ROOM_PRIVATE REPLACE "^(nlohmann_json::nlohmann_json|Boost::headers)$" "$<BUILD_INTERFACE:\\1>"
         OUTPUT_VARIABLE private)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:lockstep_private_flags> ${private})
    if(LOCKSTEP_CUDA AND kernels)
      set_target_properties(${target} PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON)
      target_link_libraries(${target} PRIVATE CUDA::cudart_static)
    endif()
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(lockstep::${target} ALIAS ${target})
  list(TRANSFORM ROOM_DEPENDS REPLACE "^([a-z_0-9]+)$" "lockstep_\\1" OUTPUT_VARIABLE core_rooms)
  list(TRANSFORM core_rooms REPLACE "^loader/" "lockstep_loader_" OUTPUT_VARIABLE rooms)
  target_link_libraries(${target} ${scope} lockstep_numerics ${rooms} ${ROOM_PUBLIC})
  target_compile_features(${target} ${scope} cxx_std_20)
  target_include_directories(${target} ${scope} $<BUILD_INTERFACE:${root}> $<INSTALL_INTERFACE:include>)
  target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS ${root} FILES ${headers})
  if(LOCKSTEP_TESTS AND NOT ROOM_TORCH)  # torch takes half a minute a header, and its rooms' own files include them first
    set_property(TARGET ${target} PROPERTY VERIFY_INTERFACE_HEADER_SETS ON)
  endif()
  set_property(GLOBAL APPEND PROPERTY LOCKSTEP_ROOMS_${component} ${target})

  if(LOCKSTEP_TESTS AND tests)
    lockstep_test(${target}_test SOURCES ${tests} LINK ${target} ${ROOM_TEST} ${ROOM_PRIVATE})
  endif()
  if(LOCKSTEP_BENCH AND benches)
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_BENCHES ${target}_bench)
    add_executable(${target}_bench ${benches})
    target_link_libraries(${target}_bench PRIVATE ${target} ${ROOM_TEST} ${ROOM_PRIVATE} lockstep_private_flags
                          benchmark::benchmark benchmark::benchmark_main)
  endif()
  if(LOCKSTEP_CUDA AND kernels)
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_GPU_ROOMS ${target})
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_GPU_TESTS ${tests})
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_GPU_BENCHES ${benches})
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_GPU_LINK ${target} ${ROOM_TEST} ${ROOM_PRIVATE})
  endif()
endfunction()

# lockstep_test(<target> SOURCES file… [LINK library…] [LABEL unit|slow|gpu|install])
# GoogleTest cases become CTest cases. A case whose full name holds "Slow" or "Gpu" gets that label instead;
# both: slow_gpu, which ctest's -L and -LE find by either.
function(lockstep_test target)
  cmake_parse_arguments(TEST "" "LABEL" "SOURCES;LINK" ${ARGN})
  if(NOT TEST_LABEL)
    set(TEST_LABEL unit)
  endif()
  add_executable(${target} ${TEST_SOURCES})
  target_link_libraries(${target} PRIVATE ${TEST_LINK} lockstep_private_flags GTest::gtest GTest::gtest_main)
  # What is tested is as a user has it; the tests' own code takes a third less time to compile so, and runs as fast.
  target_compile_options(${target} PRIVATE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
  target_compile_definitions(${target} PRIVATE LOCKSTEP_DATA_DIR="${PROJECT_SOURCE_DIR}/data"
                             LOCKSTEP_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  string(REGEX REPLACE "^lockstep_|_test$" "" prefix ${target})
  gtest_discover_tests(${target} TEST_PREFIX ${prefix}: TEST_FILTER "-*Slow*:*Gpu*" DISCOVERY_TIMEOUT 120
                       PROPERTIES LABELS ${TEST_LABEL} TIMEOUT 600)
  gtest_discover_tests(${target} TEST_PREFIX ${prefix}: TEST_FILTER "*Slow*-*Gpu*" TEST_LIST ${target}_SLOW
                       DISCOVERY_TIMEOUT 120 PROPERTIES LABELS slow TIMEOUT 3600)
  gtest_discover_tests(${target} TEST_PREFIX ${prefix}: TEST_FILTER "*Gpu*-*Slow*" TEST_LIST ${target}_GPU
                       DISCOVERY_TIMEOUT 120 PROPERTIES LABELS gpu TIMEOUT 600)
  gtest_discover_tests(${target} TEST_PREFIX ${prefix}: TEST_FILTER "*Gpu*Slow*" TEST_LIST ${target}_SLOW_GPU
                       DISCOVERY_TIMEOUT 120 PROPERTIES LABELS slow_gpu TIMEOUT 3600)
endfunction()

# lockstep_tool(<name> LINK library… [SOURCES file…]): a command of tools/<name>, from all .cpp files of its folder but
# *_test.cpp, or from SOURCES.
function(lockstep_tool name)
  cmake_parse_arguments(TOOL "" "" "LINK;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  if(TOOL_SOURCES)
    set(sources ${TOOL_SOURCES})
  endif()
  add_executable(${name} ${sources})
  target_compile_features(${name} PRIVATE cxx_std_20)
  target_link_libraries(${name} PRIVATE ${TOOL_LINK} lockstep_private_flags cxxopts::cxxopts fmt::fmt)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  set_property(GLOBAL APPEND PROPERTY LOCKSTEP_PROGRAMS ${name})
endfunction()
