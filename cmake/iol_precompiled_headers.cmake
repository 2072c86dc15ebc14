# Sanitizer builds parse the headers that most files include once: a third less to compile. Release builds don't, so
# that a file which forgets to include what it uses is found there.
#   iol_precompile_headers(target [header...])   the standard library, fmt, and these
function(iol_precompile_headers target)
  if(NOT IOL_SANITIZE)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <map> <memory> <mutex>
    <optional> <random> <span> <sstream> <string> <string_view> <thread> <unordered_map> <utility> <vector>
    <fmt/format.h> ${ARGN})
endfunction()
