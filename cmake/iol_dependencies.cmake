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

add_library(iol_dependencies_public INTERFACE)
target_link_libraries(iol_dependencies_public INTERFACE fmt::fmt Threads::Threads)
add_library(iol_dependencies_private INTERFACE)
target_link_libraries(iol_dependencies_private INTERFACE
  spdlog::spdlog nlohmann_json::nlohmann_json simdjson::simdjson OpenSSL::Crypto
  PkgConfig::PCRE2 PkgConfig::UTF8PROC PkgConfig::SENTENCEPIECE)
