#include "bench/slo.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace iol::bench {
namespace {

using nlohmann::json;

struct Preset {
  std::string_view name;
  double ttft_ms;
  double tpot_ms;
};

// MLPerf Inference, server and interactive scenarios; MLCommons holds them at the 99th percentile.
constexpr std::array<Preset, 4> kPresets{{{"llama2-70b-server", 2000, 200},
                                          {"llama2-70b-interactive", 450, 40},
                                          {"llama3.1-8b-server", 2000, 100},
                                          {"llama3.1-8b-interactive", 500, 30}}};

}  // namespace

std::string slo_preset_names() {
  std::string names;
  for (const Preset& preset : kPresets) {
    if (!names.empty()) names += ", ";
    names += preset.name;
  }
  return names;
}

json parse_slo(const std::string& text) {
  for (const Preset& preset : kPresets) {
    if (text != preset.name) continue;
    return {{"preset", text}, {"ttft_ms", preset.ttft_ms}, {"tpot_ms", preset.tpot_ms}};
  }
  json slo = json::object();
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const auto equals = item.find('=');
    const std::string name = item.substr(0, equals);
    const char* const value = equals == std::string::npos ? "" : item.c_str() + equals + 1;
    double number = 0;
    const auto [rest, error] = std::from_chars(value, item.c_str() + item.size(), number);
    const std::string unit = error == std::errc() ? rest : "none";
    const bool known = name == "ttft" || name == "tpot" || name == "e2e";
    if (!known || !(number > 0) || !std::isfinite(number) || (unit != "ms" && unit != "s")) {
      throw_input_error("--slo {}: expected ttft=200ms,tpot=20ms,e2e=2s, any of the three, or {}",
                        text, slo_preset_names());
    }
    slo[name + "_ms"] = unit == "s" ? number * 1000 : number;
    begin = end + 1;
  }
  return slo;
}

}  // namespace iol::bench
