# Run by the build (cmake -P): see iol_build_info.cmake.
set(revision unknown)
find_program(git git)
if(git)
  execute_process(COMMAND ${git} describe --always --dirty --abbrev=12 --exclude=*
                  WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE output
                  RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(revision ${output})
  endif()
endif()
string(STRIP "${FLAGS}" FLAGS)
set(text "#pragma once
#define IOL_BUILD_REVISION \"${revision}\"
#define IOL_BUILD_COMPILER \"${COMPILER}\"
#define IOL_BUILD_FLAGS \"${FLAGS}\"
#define IOL_BUILD_TYPE \"${BUILD_TYPE}\"
#define IOL_BUILD_SANITIZE \"${SANITIZE}\"
")
set(old "")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT text STREQUAL old)
  file(WRITE ${HEADER} "${text}")
endif()
