# LibTorch without torch's own CMake files, which fail without a CUDA toolkit and add flags for every architecture.
# Used by this build and, installed, by the package.

# lockstep_find_libtorch(<trouble>)
# Makes lockstep_libtorch (imported, with torch_cpu and c10) from LOCKSTEP_TORCH_PREFIX, or from the torch package of
# LOCKSTEP_PYTHON, of the tree's .venv, or of python3. Sets LOCKSTEP_TORCH_VERSION and LOCKSTEP_TORCH_RPATH, and <trouble>
# to a sentence when it fails, else to nothing.
function(lockstep_find_libtorch trouble_name)
  set(${trouble_name} "" PARENT_SCOPE)
  set(advice "Run scripts/setup, or pass -DLOCKSTEP_TORCH_PREFIX=<the folder that holds include/ and lib/ of LibTorch 2.9 \
or newer: an unpacked libtorch or a Python's site-packages/torch>, or -DLOCKSTEP_TORCH=OFF.")
  if(NOT LOCKSTEP_TORCH_PREFIX)
    lockstep_ask_python_for_torch(LOCKSTEP_TORCH_PREFIX asked)
    if(NOT LOCKSTEP_TORCH_PREFIX)
      set(${trouble_name} "no LibTorch found: '${asked}' has no torch. ${advice}" PARENT_SCOPE)
      return()
    endif()
    set(LOCKSTEP_TORCH_PREFIX ${LOCKSTEP_TORCH_PREFIX} CACHE PATH "" FORCE)
  endif()
  set(prefix ${LOCKSTEP_TORCH_PREFIX})
  foreach(needed include/torch/csrc/api/include/torch/torch.h lib/libtorch_cpu.so lib/libc10.so)
    if(NOT EXISTS ${prefix}/${needed})
      set(${trouble_name} "LOCKSTEP_TORCH_PREFIX=${prefix} holds no ${needed}. ${advice}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  lockstep_libtorch_version(${prefix} version)
  if(version VERSION_LESS 2.9)
    set(${trouble_name} "LibTorch ${version} in ${prefix} is too old. ${advice}" PARENT_SCOPE)
    return()
  endif()

  # pip's CUDA build of libtorch_cpu.so needs libcudart and libcupti, which are wheels of their own beside it.
  file(GLOB wheel_folders ${prefix}/../nvidia/*/lib)
  set(rpath ${prefix}/lib ${wheel_folders})
  if(NOT TARGET lockstep_libtorch)
    add_library(lockstep_libtorch INTERFACE IMPORTED GLOBAL)
    target_include_directories(lockstep_libtorch SYSTEM INTERFACE
      ${prefix}/include ${prefix}/include/torch/csrc/api/include)
    target_link_libraries(lockstep_libtorch INTERFACE
      ${prefix}/lib/libtorch_cpu.so ${prefix}/lib/libc10.so Threads::Threads)
    foreach(folder IN LISTS rpath)
      target_link_options(lockstep_libtorch INTERFACE -Wl,-rpath,${folder} -Wl,-rpath-link,${folder})
    endforeach()
  endif()
  set(LOCKSTEP_TORCH_VERSION ${version} PARENT_SCOPE)
  set(LOCKSTEP_TORCH_RPATH ${rpath} PARENT_SCOPE)
endfunction()

# Asks without importing torch, which would need all of its CUDA wheels.
function(lockstep_ask_python_for_torch prefix_name asked_name)
  set(python python3)
  if(LOCKSTEP_PYTHON)
    set(python ${LOCKSTEP_PYTHON})
  elseif(EXISTS ${PROJECT_SOURCE_DIR}/.venv/bin/python)
    set(python ${PROJECT_SOURCE_DIR}/.venv/bin/python)
  endif()
  execute_process(COMMAND ${python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    set(prefix "")
  endif()
  set(${prefix_name} "${prefix}" PARENT_SCOPE)
  set(${asked_name} "${python}" PARENT_SCOPE)
endfunction()

# "2.11.0"; "0" where no header tells.
function(lockstep_libtorch_version prefix version_name)
  set(version 0)
  foreach(header include/torch/headeronly/version.h include/torch/csrc/api/include/torch/version.h)
    if(NOT EXISTS ${prefix}/${header})
      continue()
    endif()
    file(STRINGS ${prefix}/${header} lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
    list(JOIN numbers . version)
    if(version)
      break()
    endif()
  endforeach()
  set(${version_name} ${version} PARENT_SCOPE)
endfunction()
