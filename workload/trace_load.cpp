#include "workload/trace_load.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "base/random.h"
#include "workload/trace.h"

namespace iol {
namespace {

constexpr std::uint64_t kBlockStream = 0x626c6f636b73ULL;

/// Tokens of a prompt: its blocks, each by its id, and whatever goes beyond them, its own.
std::vector<std::int32_t> prompt_of(const TraceEntry& entry, const PromptSource& source,
                                    std::uint64_t block_seed, RandomStream& own) {
  std::vector<std::int32_t> tokens;
  tokens.reserve(static_cast<std::size_t>(entry.input_tokens));
  for (const std::int64_t id : entry.block_ids) {
    const auto left = entry.input_tokens - static_cast<std::int64_t>(tokens.size());
    if (left <= 0) break;
    RandomStream random(block_seed, static_cast<std::uint64_t>(id));
    auto block = source.take(kTraceBlockTokens, random);
    block.resize(static_cast<std::size_t>(std::min(left, kTraceBlockTokens)));
    tokens.insert(tokens.end(), block.begin(), block.end());
  }
  const auto left = entry.input_tokens - static_cast<std::int64_t>(tokens.size());
  if (left > 0) {
    const auto rest = source.take(left, own);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
  }
  return tokens;
}

bool has_shared_block(const std::vector<TraceEntry>& entries) {
  std::unordered_set<std::int64_t> seen;
  for (const TraceEntry& entry : entries) {
    for (const std::int64_t id : entry.block_ids) {
      if (!seen.insert(id).second) return true;
    }
  }
  return false;
}

}  // namespace

TraceLoad read_trace_load(const std::filesystem::path& path, std::int64_t max_requests,
                          std::int64_t max_context) {
  TraceLoad load;
  load.path = path;
  const auto trace = open_trace(path, {});
  std::optional<std::int64_t> first_ns;
  TraceRequest request;
  while (static_cast<std::int64_t>(load.entries.size()) < max_requests && trace->next(request)) {
    if (request.failed || request.output_tokens == 0) {
      ++load.failed;
      continue;
    }
    TraceEntry entry;
    entry.input_tokens = std::max<std::int64_t>(request.input_tokens, 1);
    entry.output_tokens = request.output_tokens;
    if (entry.input_tokens + entry.output_tokens > max_context) {
      ++load.too_long;
      continue;
    }
    if (request.t_ns) {
      if (!first_ns) first_ns = request.t_ns;
      entry.due_ns = *request.t_ns - *first_ns;
      load.has_times = true;
    }
    entry.block_ids.assign(request.block_ids.begin(), request.block_ids.end());
    load.entries.push_back(std::move(entry));
  }
  if (load.entries.empty()) {
    throw_input_error(
        "--trace {}: no request of it can be run: {} are longer than the model's context of {}, {} "
        "have no answer",
        path.string(), load.too_long, max_context, load.failed);
  }
  load.shares_prefixes = has_shared_block(load.entries);
  return load;
}

std::vector<WorkloadRequest> replay_requests(const TraceLoad& trace, const PromptSource& source,
                                             const ReplayOptions& options) {
  IOL_CHECK(options.speed > 0 && !trace.entries.empty());
  const auto first_id = static_cast<std::uint64_t>(options.first_id);
  const std::uint64_t block_seed = random_bits(options.seed, kBlockStream, first_id);
  std::vector<WorkloadRequest> requests;
  requests.reserve(static_cast<std::size_t>(options.count));
  for (std::int64_t i = 0; i < options.count; ++i) {
    const TraceEntry& entry = trace.entries[static_cast<std::size_t>(i) % trace.entries.size()];
    WorkloadRequest request;
    request.id = options.first_id + i;
    RandomStream own(options.seed, static_cast<std::uint64_t>(request.id));
    request.prompt_tokens = prompt_of(entry, source, block_seed, own);
    request.output_tokens = entry.output_tokens;
    request.due_ns = std::llround(static_cast<double>(entry.due_ns) / options.speed);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace iol
