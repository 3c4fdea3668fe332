# Run at build time (cmake -P): writes the header only when a value changed, so that a commit rebuilds one file.
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  set(commit unknown)
else()
  execute_process(COMMAND git -C ${SOURCE_DIR} diff --quiet HEAD RESULT_VARIABLE dirty)
  if(NOT dirty EQUAL 0)
    string(APPEND commit -dirty)
  endif()
endif()
set(text "// Written by the build.
#define LOCKSTEP_VERSION \"${VERSION}\"
#define LOCKSTEP_COMMIT \"${commit}\"
#define LOCKSTEP_COMPILER \"${COMPILER}\"
#define LOCKSTEP_BUILD_TYPE \"${BUILD_TYPE}\"
#define LOCKSTEP_NUMERIC_FLAGS \"${NUMERIC_FLAGS}\"
#define LOCKSTEP_CUDA_VERSION \"${CUDA}\"
")
set(before "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT text STREQUAL before)
  file(WRITE ${OUTPUT} "${text}")
endif()
