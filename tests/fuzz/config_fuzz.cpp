// parse_model_config(): bad input is an InputError of one line; what is accepted can be planned
// for. The input is config.json, a NUL, generation_config.json.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "model/config.h"
#include "model/memory_plan.h"
#include "model/rope.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto config_size = input.find('\0');
  const auto generation =
      config_size == std::string_view::npos ? "" : input.substr(config_size + 1);
  try {
    const auto config = iol::parse_model_config(input.substr(0, config_size), generation, "fuzz");
    if (iol::num_parameters(config) <= 0) std::abort();
    if (iol::weight_bytes(config, config.dtype, {iol::WeightFormat::kInt8}) <= 0) std::abort();
    if (iol::kv_bytes_per_token(config, config.dtype) <= 0) std::abort();
    static_cast<void>(iol::rope_inv_freq(config));
    static_cast<void>(iol::rope_attention_factor(config));
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
