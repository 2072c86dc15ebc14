# Sanitizer builds parse the headers that most files include once: a third less to compile. Release builds don't, so
# that a file which forgets to include what it uses is found there.
#   iol_precompile_headers(target [header...])   the standard library, fmt, and these
if(IOL_SANITIZE AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")  # else the compiler cache takes each for another
endif()
if(IOL_SANITIZE AND IOL_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${IOL_CCACHE})
endif()

function(iol_precompile_headers target)
  if(NOT IOL_SANITIZE)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <map> <memory> <mutex>
    <optional> <random> <span> <sstream> <string> <string_view> <thread> <unordered_map> <utility> <vector>
    <fmt/format.h> ${ARGN})
endfunction()
