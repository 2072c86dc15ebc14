// parse_price_file(): bad input is an InputError of one line; what is accepted can be counted with.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "economics/cost_case.h"
#include "economics/cost_output.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace eco = iol::economics;
  try {
    const auto prices =
        eco::parse_price_file({reinterpret_cast<const char*>(data), size}, "fuzz", {2026, 7, 1});
    eco::CostQuestion question;
    question.prices = &prices;
    question.device = &prices.devices.front();
    question.region = &prices.regions.front();
    question.subjects = {{"a", "a", 10, 500}, {"b", "b", 20, {}}};
    const auto answer = eco::answer(question);
    for (const auto& subject : answer.costs) {
      for (const auto& cost : subject) {
        if (!std::isfinite(cost.usd_per_million) || cost.usd_per_million <= 0) std::abort();
      }
    }
    if (eco::cost_text(question, answer, {2026, 7, 1}, {}).empty()) std::abort();
    static_cast<void>(eco::cost_json(question, answer, {}).dump());
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
