# Third-party libraries, all from the distribution. Public: named in installed headers.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto SSL)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
# Used header-only: no library to ship.
find_path(IOL_TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)
find_package(Boost 1.74 REQUIRED)
# Clang 14 has the header's coroutines only as an experiment of its own.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_INCLUDES ${Boost_INCLUDE_DIRS})
check_cxx_source_compiles("#include <utility>
  #include <boost/asio/awaitable.hpp>
  boost::asio::awaitable<void> nothing() { co_return; }
  int main() {}" IOL_HAS_COROUTINES)
unset(CMAKE_REQUIRED_INCLUDES)

add_library(iol_dependencies_public INTERFACE)
target_link_libraries(iol_dependencies_public INTERFACE fmt::fmt Threads::Threads)
add_library(iol_dependencies_private INTERFACE)
target_link_libraries(iol_dependencies_private INTERFACE
  spdlog::spdlog nlohmann_json::nlohmann_json simdjson::simdjson OpenSSL::Crypto
  PkgConfig::PCRE2 PkgConfig::UTF8PROC PkgConfig::SENTENCEPIECE)
