#pragma once
// Service-level objectives as the command line names them.
#include <nlohmann/json.hpp>
#include <string>

namespace iol::bench {

/// {ttft_ms, tpot_ms, e2e_ms}, any of them, from "ttft=200ms,tpot=20ms,e2e=2s"; or those of an
/// MLPerf Inference benchmark by its name, then with `preset`: llama2-70b-server (2000 ms, 200 ms),
/// llama2-70b-interactive (450, 40), llama3.1-8b-server (2000, 100), llama3.1-8b-interactive (500,
/// 30). Throws InputError naming --slo, the text and what is accepted.
nlohmann::json parse_slo(const std::string& text);

/// The names of the presets, separated by commas.
std::string slo_preset_names();

}  // namespace iol::bench
