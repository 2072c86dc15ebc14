#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "economics/amounts.h"
#include "economics/cost_output.h"

namespace iol::economics {
namespace {

constexpr int kOldMonths = 12;

class CostText {
 public:
  CostText(const CostQuestion& question, const CostAnswer& answer, const Date& today,
           const std::vector<std::string>& assumed)
      : question_(question), answer_(answer), today_(today), assumed_(assumed) {
    if (question.currency != "USD") usd_ = question.prices->usd_per(question.currency);
    index_label_ = "  index, " + question.subjects.front().label + " = 100";
    if (question.subjects.size() > 1) name_width_ = std::max(name_width_, index_label_.size());
    for (const auto& subject : question.subjects)
      name_width_ = std::max(name_width_, subject.label.size());
  }

  std::string write() {
    add_heading();
    add_costs();
    add_budget();
    add_ownership();
    add_sensitivity(answer_.offers.front().label, answer_.sensitivity);
    if (!answer_.owned_sensitivity.empty()) {
      add_sensitivity(answer_.offers[answer_.first_owned].label, answer_.owned_sensitivity);
    }
    add_assumptions();
    add_prices();
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  /// USD in the currency that is shown.
  [[nodiscard]] std::string money(double usd) const { return format_amount(usd / usd_); }

  [[nodiscard]] std::size_t column_width(std::size_t offer) const {
    return std::max<std::size_t>(answer_.offers[offer].name.size() + 2, 12);
  }

  /// One row with a cell per offer.
  template <class Cell>
  void row(const std::string& name, const std::string& rate, Cell&& cell) {
    std::string cells;
    for (std::size_t i = 0; i < answer_.offers.size(); ++i)
      cells += fmt::format("{:>{}}", cell(i), column_width(i));
    line("{:<{}}{:>10}{}", name, name_width_, rate, cells);
  }

  void add_heading() {
    line("A million output tokens, in {}", question_.currency);
    const double devices = question_.assumptions.devices;
    if (question_.device != nullptr) {
      line("{} x {}; {} ({})", devices, question_.device->label, question_.region->label,
           question_.region->name);
    } else {
      line("{} device{} at the given price", devices, devices == 1 ? "" : "s");
    }
    if (!question_.load.empty()) line("Throughput measured under: {}", question_.load);
  }

  void add_costs() {
    line("");
    row("", "tok/s", [&](std::size_t i) { return answer_.offers[i].name; });
    row("per device-hour", "",
        [&](std::size_t i) { return money(answer_.offers[i].usd_per_device_hour); });
    for (std::size_t s = 0; s < question_.subjects.size(); ++s) {
      const auto& costs = answer_.costs[s];
      row(question_.subjects[s].label, format_amount(question_.subjects[s].output_tok_s),
          [&](std::size_t i) { return money(costs[i].usd_per_million); });
      if (s == 0) continue;
      row(index_label_, "", [&](std::size_t i) { return fmt::format("{:.1f}", costs[i].index); });
      row("  saving", "", [&](std::size_t i) { return format_share(costs[i].saving); });
    }
    const Device* device = question_.device;
    if (device != nullptr && device->surveyed_low) {
      line("Others found {} to {} per device-hour for owning this ({}, {}).",
           money(device->surveyed_low->usd), money(device->surveyed_high->usd),
           device->surveyed_low->source, device->surveyed_low->date.text());
    }
  }

  void add_budget() {
    if (!question_.budget) return;
    line("");
    line("Of {} {} a month, at the prices of '{}'", format_amount(question_.budget->monthly),
         question_.currency, answer_.offers.front().name);
    for (std::size_t s = 1; s < question_.subjects.size(); ++s) {
      const BudgetAnswer& budget = answer_.budget[s];
      line("  {}: {} {} a year saved ({})", question_.subjects[s].label,
           format_amount(budget.yearly_saving), question_.currency,
           format_share(answer_.costs[s].front().saving));
      if (question_.budget->project_cost <= 0) continue;
      const std::string cost = format_amount(question_.budget->project_cost);
      if (budget.payback_months) {
        line("    {} {} spent once are back after {}", cost, question_.currency,
             format_months(*budget.payback_months));
      } else {
        line("    {} {} spent once never come back", cost, question_.currency);
      }
    }
  }

  void add_ownership() {
    if (question_.device == nullptr) return;
    const double years = question_.assumptions.years;
    line("");
    line("{:<22}{:>14}{:>14}{:>18}  {}", "every hour paid", "upfront", "a year",
         fmt::format("{} years", years), "bought instead of the first, paid back after");
    for (std::size_t i = 0; i < answer_.offers.size(); ++i) {
      const Ownership& owning = answer_.ownership[i];
      std::string payback;
      if (answer_.offers[i].owned() && answer_.first_owned > 0) {
        payback = owning.payback_months ? format_months(*owning.payback_months) : "never";
      }
      line("{:<22}{:>14}{:>14}{:>18}  {}", answer_.offers[i].name, money(owning.upfront_usd),
           money(owning.yearly_usd), money(owning.total_usd), payback);
    }
    for (std::size_t i = 0; i < answer_.offers.size(); ++i) {
      if (!answer_.ownership[i].break_even_use) continue;
      line("Switched off when idle, '{}' costs less than '{}' below {} use.",
           answer_.offers.front().name, answer_.offers[i].name,
           format_share(*answer_.ownership[i].break_even_use));
    }
  }

  void add_sensitivity(const std::string& offer, const std::vector<Sensitivity>& entries) {
    line("");
    line("What moves it most: {}, {}; each number 20 % lower and higher",
         question_.subjects.back().label, offer);
    line("  {:<30}{:>12}{:>12}{:>12}", "", "now", "lower", "higher");
    for (const Sensitivity& entry : entries) {
      line("  {:<30}{:>12}{:>12}{:>12}", entry.what, format_amount(entry.value),
           money(entry.usd_if_lower), money(entry.usd_if_higher));
    }
  }

  void add_assumptions() {
    const Assumptions& a = question_.assumptions;
    const auto mark = [&](std::string_view option) {
      const bool is_default = std::find(assumed_.begin(), assumed_.end(), option) != assumed_.end();
      return is_default ? fmt::format("assumed; {}", option) : std::string(option);
    };
    line("");
    line("Assumptions");
    line("  {} utilization: the share of paid hours at this throughput ({})",
         format_share(a.utilization), mark("--utilization"));
    if (question_.device == nullptr) return;
    line("  hardware {} ({}), region {} ({})", question_.device->name, mark("--hardware"),
         question_.region->name, mark("--region"));
    line("  capital paid back over {} years ({}) at {} a year ({})", a.years, mark("--years"),
         format_share(a.yearly_rate), mark("--rate"));
    line("  operations {} USD per device-hour: staff, maintenance ({})",
         format_amount(a.operations_usd_per_hour), mark("--operations"));
    const bool measured = question_.subjects.front().power_mean_w.has_value();
    line("  energy from {}", measured ? "the measured mean power, times PUE"
                                      : "provisioned power; no power was measured");
    line("  on premises: the building counts as there already");
  }

  void add_prices() {
    const auto prices = used_prices(question_, answer_);
    if (prices.empty()) return;
    line("");
    line("Prices from {}", question_.prices->path);
    for (const UsedPrice& used : prices) {
      const int age = used.price.date.months_until(today_);
      const std::string old = age > kOldMonths ? fmt::format(", {} months old", age) : "";
      line("  {}: {} {}, {}{}: {}", used.what, used.price.value, used.price.unit,
           used.price.date.text(), old, used.price.source);
    }
  }

  const CostQuestion& question_;
  const CostAnswer& answer_;
  Date today_;
  const std::vector<std::string>& assumed_;
  double usd_ = 1;
  std::string index_label_;
  std::size_t name_width_ = 18;
  std::string text_;
};

}  // namespace

std::vector<UsedPrice> used_prices(const CostQuestion& question, const CostAnswer& answer) {
  std::vector<UsedPrice> result;
  std::vector<std::string> codes;
  const auto add_currency = [&](const std::string& code) {
    if (std::find(codes.begin(), codes.end(), code) == codes.end()) codes.push_back(code);
  };
  for (const Offer& offer : answer.offers) {
    for (const UsedPrice& used : offer.prices) {
      const auto is_same = [&](const UsedPrice& other) { return other.what == used.what; };
      if (std::any_of(result.begin(), result.end(), is_same)) continue;
      result.push_back(used);
      const auto slash = used.price.unit.find('/');
      if (slash != std::string::npos) add_currency(used.price.unit.substr(0, slash));
    }
  }
  add_currency(question.currency);
  if (question.prices == nullptr) return result;
  for (const std::string& code : codes) {
    const Currency* currency = question.prices->find_currency(code);
    if (currency != nullptr) result.push_back({"rate of " + code, currency->rate});
  }
  return result;
}

std::string cost_text(const CostQuestion& question, const CostAnswer& answer, const Date& today,
                      const std::vector<std::string>& assumed) {
  return CostText(question, answer, today, assumed).write();
}

}  // namespace iol::economics
