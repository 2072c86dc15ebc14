#include "sampler/token_distribution.h"

#include <algorithm>

#include "base/error.h"

namespace iol {
namespace {

/// Calls visit(token, excess) for every token more likely in `target` than in `draft`.
template <class Visit>
void for_each_excess(const TokenDistribution& target, const TokenDistribution& draft,
                     Visit&& visit) {
  auto guess = draft.candidates.begin();
  for (const Candidate& candidate : target.candidates) {
    while (guess != draft.candidates.end() && guess->token < candidate.token) ++guess;
    double excess = double{candidate.weight} / target.total;
    if (guess != draft.candidates.end() && guess->token == candidate.token) {
      excess -= double{guess->weight} / draft.total;
    }
    if (excess > 0 && !visit(candidate.token, excess)) return;
  }
}

}  // namespace

double TokenDistribution::probability(std::int32_t token) const {
  const auto found = std::lower_bound(
      candidates.begin(), candidates.end(), token,
      [](const Candidate& candidate, std::int32_t id) { return candidate.token < id; });
  if (found == candidates.end() || found->token != token) return 0;
  return double{found->weight} / total;
}

std::int32_t TokenDistribution::draw(double uniform) const {
  IOL_CHECK(!candidates.empty());
  const double target = uniform * total;
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += double{candidate.weight};
    if (sum > target) return candidate.token;
  }
  return candidates.back().token;
}

std::optional<std::int32_t> draw_residual(const TokenDistribution& target,
                                          const TokenDistribution& draft, double uniform) {
  double total = 0;
  for_each_excess(target, draft, [&](std::int32_t, double excess) {
    total += excess;
    return true;
  });
  std::optional<std::int32_t> drawn;
  double sum = 0;
  for_each_excess(target, draft, [&](std::int32_t token, double excess) {
    drawn = token;  // the last, should rounding lead past the end
    sum += excess;
    return sum <= uniform * total;
  });
  return drawn;
}

}  // namespace iol
