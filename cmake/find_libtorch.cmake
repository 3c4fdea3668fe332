# LibTorch without torch's own CMake files, which fail without a CUDA toolkit and add flags for every architecture.
# Makes lockstep_libtorch (imported, with torch_cpu and c10) from LOCKSTEP_TORCH_PREFIX, or from the torch package of
# LOCKSTEP_PYTHON, of the tree's .venv, or of python3.

if(NOT LOCKSTEP_TORCH_PREFIX)
  set(python ${LOCKSTEP_PYTHON})
  if(NOT python AND EXISTS ${PROJECT_SOURCE_DIR}/.venv/bin/python)
    set(python ${PROJECT_SOURCE_DIR}/.venv/bin/python)
  elseif(NOT python)
    set(python python3)
  endif()
  execute_process(COMMAND ${python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "lockstep: no LibTorch found: '${python}' has no torch. Run scripts/setup, or pass "
                        "-DLOCKSTEP_TORCH_PREFIX=<a LibTorch folder or site-packages/torch>, or -DLOCKSTEP_TORCH=OFF.")
  endif()
  set(LOCKSTEP_TORCH_PREFIX ${prefix} CACHE PATH "" FORCE)
endif()
foreach(needed include/torch/csrc/api/include/torch/torch.h lib/libtorch_cpu.so lib/libc10.so)
  if(NOT EXISTS ${LOCKSTEP_TORCH_PREFIX}/${needed})
    message(FATAL_ERROR "lockstep: LOCKSTEP_TORCH_PREFIX=${LOCKSTEP_TORCH_PREFIX} holds no ${needed}. "
                        "Name the folder that holds include/ and lib/ of LibTorch 2.9 or newer.")
  endif()
endforeach()
file(STRINGS ${LOCKSTEP_TORCH_PREFIX}/include/torch/headeronly/version.h version_lines
     REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9;]" "" version_numbers "${version_lines}")
list(JOIN version_numbers . LOCKSTEP_TORCH_VERSION)
if(LOCKSTEP_TORCH_VERSION VERSION_LESS 2.9)
  message(FATAL_ERROR "lockstep: LibTorch ${LOCKSTEP_TORCH_VERSION} in ${LOCKSTEP_TORCH_PREFIX} is too old. Use 2.9 or newer.")
endif()
message(STATUS "LibTorch ${LOCKSTEP_TORCH_VERSION}: ${LOCKSTEP_TORCH_PREFIX}")

add_library(lockstep_libtorch INTERFACE IMPORTED GLOBAL)
target_include_directories(lockstep_libtorch SYSTEM INTERFACE
  ${LOCKSTEP_TORCH_PREFIX}/include ${LOCKSTEP_TORCH_PREFIX}/include/torch/csrc/api/include)
target_link_libraries(lockstep_libtorch INTERFACE
  ${LOCKSTEP_TORCH_PREFIX}/lib/libtorch_cpu.so ${LOCKSTEP_TORCH_PREFIX}/lib/libc10.so Threads::Threads)
# pip's CUDA build of libtorch_cpu.so needs libcudart and libcupti, which are wheels of their own beside it.
file(GLOB wheel_folders ${LOCKSTEP_TORCH_PREFIX}/../nvidia/*/lib)
set(LOCKSTEP_TORCH_RPATH ${LOCKSTEP_TORCH_PREFIX}/lib ${wheel_folders})
foreach(folder IN LISTS LOCKSTEP_TORCH_RPATH)
  target_link_options(lockstep_libtorch INTERFACE -Wl,-rpath,${folder} -Wl,-rpath-link,${folder})
endforeach()
