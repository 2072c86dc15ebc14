#pragma once
#include <cstddef>
#include <span>
#include <string>

struct evp_md_ctx_st;  // OpenSSL's

namespace iol {

/// SHA-256 (FIPS 180-4) over bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::span<const std::byte> bytes);
  void add(const std::string& text) { add(std::as_bytes(std::span(text))); }
  /// 64 lower-case digits. Call it once; nothing may be added afterwards.
  std::string hexadecimal();

 private:
  evp_md_ctx_st* context_;
};

}  // namespace iol
