# The flags that decide bits (contracts, section 12), carried by one interface target so that no file is built without
# them. It is installed too: public headers hold arithmetic, and a compiler that contracts a*b+c into one rounding would
# give a user's copy of it other bits.

set(lockstep_cxx_numeric_flags -ffp-contract=off)
set(lockstep_cuda_numeric_flags --fmad=false -ftz=false -prec-div=true -prec-sqrt=true)

add_library(lockstep_numerics INTERFACE)
add_library(lockstep::numerics ALIAS lockstep_numerics)
set_target_properties(lockstep_numerics PROPERTIES EXPORT_NAME numerics)
target_compile_options(lockstep_numerics INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:${lockstep_cxx_numeric_flags}>
  "$<$<COMPILE_LANGUAGE:CUDA>:${lockstep_cuda_numeric_flags};-Xcompiler=${lockstep_cxx_numeric_flags}>")

# As written into recordings and printed by --version.
list(JOIN lockstep_cxx_numeric_flags " " LOCKSTEP_NUMERIC_FLAGS)
if(LOCKSTEP_CUDA)
  list(JOIN lockstep_cuda_numeric_flags " " flags)
  string(APPEND LOCKSTEP_NUMERIC_FLAGS " ${flags}")
endif()

# Warnings are ours alone and never reach a user's targets.
add_library(lockstep_private_flags INTERFACE)
target_compile_options(lockstep_private_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor>)

# A sanitizer is worth nothing on half of a program, so it goes with every target of this build.
if(LOCKSTEP_SANITIZE)
  add_library(lockstep_sanitizer INTERFACE)
  target_compile_options(lockstep_sanitizer INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${LOCKSTEP_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>)
  # These compilers lay the frames that outlive their function at 32 bytes, and vectors of 64 bytes in them trap.
  if(LOCKSTEP_SANITIZE MATCHES address AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU"
     AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.3 AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
    target_compile_options(lockstep_sanitizer INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:--param=asan-use-after-return=0>")
  endif()
  target_link_options(lockstep_sanitizer INTERFACE -fsanitize=${LOCKSTEP_SANITIZE})
  target_link_libraries(lockstep_numerics INTERFACE $<BUILD_INTERFACE:lockstep_sanitizer>)
  target_link_libraries(lockstep_private_flags INTERFACE lockstep_sanitizer)
endif()
