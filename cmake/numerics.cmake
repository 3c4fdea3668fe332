# The flags that decide bits (contracts, section 12), carried by one interface target so that no file is built without
# them. -Wall and friends are ours alone and never reach a user's targets.

add_library(lockstep_numerics INTERFACE)
target_compile_options(lockstep_numerics INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;-ftz=false;-prec-div=true;-prec-sqrt=true>)

add_library(lockstep_private_flags INTERFACE)
target_compile_options(lockstep_private_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor>)
if(LOCKSTEP_SANITIZE)
  target_compile_options(lockstep_private_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${LOCKSTEP_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>)
  target_link_options(lockstep_private_flags INTERFACE -fsanitize=${LOCKSTEP_SANITIZE})
endif()
