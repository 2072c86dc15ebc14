#pragma once
// A scheduler run against a model made of arithmetic, with every rule of a step checked at every
// step. The "keys and values" of a position are the tokens up to it, so that a block with the wrong
// contents is seen; the next token is a function of all tokens before, so that a sequence that was
// preempted, chunked or helped by the prefix cache must still end as if it had run alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/random.h"
#include "scheduler/scheduler.h"

namespace iol::testing {

using Tokens = std::vector<std::int32_t>;

/// The arithmetic model: a few distinct tokens, so that prefixes repeat.
inline std::int32_t next_token(const Tokens& tokens) {
  std::uint64_t hash = 1;
  for (const std::int32_t token : tokens) hash = mix64(hash + static_cast<std::uint64_t>(token));
  return static_cast<std::int32_t>(hash % 3);
}

struct SimulationConfig {
  SchedulerConfig scheduler;
  BlockTablesConfig blocks;
  int num_requests = 20;
  int max_prompt = 20;
  int max_output = 20;
  int num_priorities = 1;
  int max_arrivals_per_step = 2;
  double cancel_rate = 0;   // per step
  double failure_rate = 0;  // per step
  int max_drafts = 0;       // of a sequence before each step, right more often than not
  std::uint64_t seed = 0;
};

class Simulation {
 public:
  explicit Simulation(const SimulationConfig& config)
      : config_(config),
        random_(config.seed),
        blocks_(config.blocks),
        scheduler_(config.scheduler, blocks_) {}

  void run() {
    for (num_steps_ = 0; num_submitted_ < config_.num_requests || !scheduler_.empty();
         ++num_steps_) {
      ASSERT_LT(num_steps_, 20000) << "it does not end";
      arrive();
      if (random_.uniform() < config_.cancel_rate) cancel();
      step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    ASSERT_EQ(num_finished_ + num_cancelled_ + num_failed_, config_.num_requests);
    ASSERT_EQ(blocks_.num_blocks_used(), 0);
    ASSERT_EQ(blocks_.num_swap_slots_used(), 0);
    blocks_.clear_prefixes();
    ASSERT_EQ(blocks_.pool().num_free(), config_.blocks.num_blocks);
  }

  [[nodiscard]] int num_steps() const { return num_steps_; }
  [[nodiscard]] int num_finished() const { return num_finished_; }
  [[nodiscard]] int num_cancelled() const { return num_cancelled_; }
  [[nodiscard]] int num_failed() const { return num_failed_; }
  [[nodiscard]] std::int64_t num_preemptions() const { return scheduler_.num_preemptions(); }
  [[nodiscard]] std::int64_t num_swapped_out() const { return num_swapped_out_; }
  [[nodiscard]] std::int64_t num_swapped_in() const { return num_swapped_in_; }
  [[nodiscard]] int num_drafts() const { return num_drafts_; }
  [[nodiscard]] int num_accepted() const { return num_accepted_; }
  [[nodiscard]] std::int64_t num_hit_tokens() const {
    return blocks_.prefix_stats().num_hit_tokens;
  }
  [[nodiscard]] const std::vector<std::uint64_t>& finish_order() const { return finish_order_; }

 private:
  struct Live {
    Sequence sequence;
    int num_output = 0;  // where it stops by itself
  };

  void arrive() {
    auto count = random_.below(static_cast<std::uint64_t>(config_.max_arrivals_per_step) + 1);
    if (scheduler_.empty()) count = std::max<std::uint64_t>(count, 1);
    for (; count > 0 && num_submitted_ < config_.num_requests; --count) submit();
  }

  void submit() {
    auto live = std::make_unique<Live>();
    Sequence& sequence = live->sequence;
    sequence.arrival_index = static_cast<std::uint64_t>(num_submitted_++);
    sequence.priority =
        static_cast<int>(random_.below(static_cast<std::uint64_t>(config_.num_priorities)));
    sequence.tokens.resize(1 + below(config_.max_prompt));
    for (auto& token : sequence.tokens) token = static_cast<std::int32_t>(random_.below(2));
    sequence.num_prompt_tokens = sequence.num_tokens();
    sequence.sampling.max_tokens = 1 + static_cast<int>(below(config_.max_output));
    live->num_output = 1 + static_cast<int>(below(sequence.sampling.max_tokens));
    const int positions =
        scheduler_.max_cached_positions(sequence.num_prompt_tokens, sequence.sampling.max_tokens);
    if (!scheduler_.can_ever_fit(positions)) {
      ASSERT_THROW(scheduler_.add(sequence), InternalError);
      ++num_cancelled_;
      return;
    }
    scheduler_.add(sequence);
    live_[sequence.arrival_index] = std::move(live);
  }

  void cancel() {
    if (live_.empty()) return;
    auto chosen = live_.begin();
    std::advance(chosen, random_.below(live_.size()));
    scheduler_.remove(chosen->second->sequence);
    live_.erase(chosen);
    ++num_cancelled_;
  }

  void step() {
    const SequenceQueues before = scheduler_.queues();
    const auto preemptions_before = scheduler_.num_preemptions();
    if (config_.max_drafts > 0) draft();
    const Batch& batch = scheduler_.schedule();
    swap();
    ASSERT_EQ(batch.empty(), live_.empty());
    if (batch.empty()) return;
    check_queues(before, scheduler_.num_preemptions() - preemptions_before);
    check_batch(batch);
    if (config_.scheduler.policy == SchedulerPolicy::kStatic) check_static(before, batch);
    if (::testing::Test::HasFatalFailure()) return;
    if (random_.uniform() < config_.failure_rate) {
      for (const auto& scheduled : batch.sequences) {
        Sequence& sequence = *scheduled.sequence;
        scheduler_.remove(sequence);
        live_.erase(sequence.arrival_index);
        ++num_failed_;
      }
      return;
    }
    for (const auto& scheduled : batch.sequences) write(scheduled);
    scheduler_.on_step_done(batch);
    for (const auto& scheduled : batch.sequences) {
      if (scheduled.needs_logits) produce(scheduled);
    }
  }

  void draft() {
    for (Sequence* sequence : scheduler_.queues().running()) {
      if (!sequence->is_decoding || !sequence->draft_tokens.empty()) continue;
      const int most = std::min(sequence->sampling.max_tokens - sequence->num_output_tokens(),
                                config_.scheduler.max_context - sequence->num_tokens()) -
                       1;
      Tokens guessed = sequence->tokens;
      for (int i = std::min(most, static_cast<int>(below(config_.max_drafts + 1))); i > 0; --i) {
        const std::int32_t right = next_token(guessed);
        guessed.push_back(random_.below(4) == 0 ? (right + 1) % 3 : right);
        sequence->draft_tokens.push_back(guessed.back());
      }
    }
  }

  /// Out, then in, as a device does it. What was brought back is gone from the host.
  void swap() {
    for (const auto [block, slot] : blocks_.swap_copies().out) {
      host_[slot] = contents_[block];
      ++num_swapped_out_;
    }
    for (const auto [block, slot] : blocks_.swap_copies().in) {
      ASSERT_TRUE(host_.contains(slot));
      contents_[block] = host_.extract(slot).mapped();
      ++num_swapped_in_;
    }
    blocks_.clear_swap_copies();
  }

  /// Admission takes the first of those waiting, preemption the last of those running.
  void check_queues(const SequenceQueues& before, std::int64_t num_preempted) {
    const auto& running = scheduler_.queues().running();
    const auto& waiting = scheduler_.queues().waiting();
    ASSERT_EQ(running.size() + waiting.size(), live_.size());
    ASSERT_LE(static_cast<int>(running.size()), config_.scheduler.max_batch);
    for (std::size_t i = 1; i < running.size(); ++i) {
      ASSERT_TRUE(is_served_before(*running[i - 1], *running[i]));
    }
    for (std::size_t i = 1; i < waiting.size(); ++i) {
      ASSERT_TRUE(is_served_before(*waiting[i - 1], *waiting[i]));
    }
    if (num_preempted > 0) {
      const auto kept = before.running().size() - static_cast<std::size_t>(num_preempted);
      const std::vector<Sequence*> expected(
          before.running().begin(), before.running().begin() + static_cast<std::ptrdiff_t>(kept));
      ASSERT_EQ(running, expected);
      ASSERT_GE(kept, 1U);
    } else {
      const auto num_admitted = before.waiting().size() - waiting.size();
      ASSERT_TRUE(std::equal(waiting.begin(), waiting.end(),
                             before.waiting().begin() + static_cast<std::ptrdiff_t>(num_admitted)));
    }
    for (const Sequence* sequence : waiting) {
      ASSERT_TRUE(sequence->block_table.empty());
      ASSERT_EQ(sequence->num_computed_tokens, 0);
    }
  }

  void check_batch(const Batch& batch) {
    ASSERT_LE(batch.num_tokens(), config_.scheduler.max_step_tokens);
    std::set<const Sequence*> seen;
    std::set<BlockId> written;
    int num_prefill = 0;
    int num_decode = 0;
    int num_drafts = 0;
    for (const auto& scheduled : batch.sequences) {
      Sequence* sequence = scheduled.sequence;
      const int num_tokens = scheduled.num_tokens;
      const bool needs_logits = scheduled.needs_logits;
      ASSERT_TRUE(seen.insert(sequence).second);
      ASSERT_GE(num_tokens, 1);
      const int end = sequence->num_computed_tokens + num_tokens;
      ASSERT_LE(end, sequence->num_tokens());
      ASSERT_EQ(needs_logits, end == sequence->num_tokens());
      (sequence->is_decoding ? num_decode : num_prefill) += num_tokens;
      check_table(*sequence, end + scheduled.num_drafts, written);
      ASSERT_LE(scheduled.num_drafts, static_cast<int>(sequence->draft_tokens.size()));
      num_drafts += scheduled.num_drafts;
    }
    ASSERT_EQ(batch.num_draft_tokens, num_drafts);
    ASSERT_LE(num_drafts, config_.scheduler.max_step_drafts);
    num_drafts_ += num_drafts;
    ASSERT_EQ(batch.num_prefill_tokens, num_prefill);
    ASSERT_EQ(batch.num_decode_tokens, num_decode);
    if (config_.scheduler.policy == SchedulerPolicy::kInFlight) {
      for (const Sequence* sequence : scheduler_.queues().running()) {
        if (sequence->is_decoding) {
          ASSERT_TRUE(seen.contains(sequence)) << "a decode waits";
        }
      }
      ASSERT_TRUE(seen.contains(scheduler_.queues().running().front())) << "the first waits";
    }
  }

  void check_table(const Sequence& sequence, int end, std::set<BlockId>& written) {
    const auto& table = sequence.block_table;
    const int size = config_.blocks.block_size;
    ASSERT_GE(static_cast<int>(table.size()) * size, end);
    for (int i = sequence.num_computed_tokens / size; i * size < end; ++i) {
      const BlockId block = table[static_cast<std::size_t>(i)];
      ASSERT_EQ(blocks_.pool().ref_count(block), 1) << "a shared block is written";
      ASSERT_TRUE(written.insert(block).second);
    }
    if (config_.blocks.allocation == KvAllocation::kContiguous) {
      for (std::size_t i = 1; i < table.size(); ++i) ASSERT_EQ(table[i], table[i - 1] + 1);
    }
    for (int begin = 0; begin < sequence.num_computed_tokens; begin += size) {
      const int filled = std::min(begin + size, sequence.num_computed_tokens);
      const Tokens expected(sequence.tokens.begin(), sequence.tokens.begin() + filled);
      // Behind what is computed a block may hold drafts that were rejected.
      Tokens& held = contents_[table[static_cast<std::size_t>(begin / size)]];
      ASSERT_GE(held.size(), expected.size());
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), held.begin()));
    }
  }

  void check_static(const SequenceQueues& before, const Batch& batch) {
    ASSERT_EQ(scheduler_.num_preemptions(), 0);
    if (!before.running().empty()) {
      ASSERT_EQ(scheduler_.queues().running(), before.running()) << "generations mix";
    }
    ASSERT_TRUE(batch.num_prefill_tokens == 0 || batch.num_decode_tokens == 0);
    if (batch.num_decode_tokens > 0) {
      ASSERT_EQ(batch.sequences.size(), scheduler_.queues().running().size());
    }
  }

  void write(const ScheduledSequence& scheduled) {
    const Sequence& sequence = *scheduled.sequence;
    Tokens tokens = sequence.tokens;
    tokens.insert(tokens.end(), sequence.draft_tokens.begin(), sequence.draft_tokens.end());
    const int size = config_.blocks.block_size;
    const int end = sequence.num_computed_tokens + scheduled.num_rows();
    for (int i = sequence.num_computed_tokens / size; i * size < end; ++i) {
      const int filled = std::min((i + 1) * size, end);
      contents_[sequence.block_table[static_cast<std::size_t>(i)]] = {tokens.begin(),
                                                                      tokens.begin() + filled};
    }
  }

  void produce(const ScheduledSequence& scheduled) {
    Sequence& sequence = *scheduled.sequence;
    const Live& live = *live_.at(sequence.arrival_index);
    const Tokens drafts = sequence.draft_tokens;
    for (int i = 0; i <= scheduled.num_drafts; ++i) {
      const std::int32_t token = next_token(sequence.tokens);
      sequence.tokens.push_back(token);
      const bool accepted =
          i < scheduled.num_drafts && drafts[static_cast<std::size_t>(i)] == token;
      if (accepted) scheduler_.on_draft_accepted(sequence);
      if (accepted) ++num_accepted_;
      if (sequence.num_output_tokens() == live.num_output ||
          sequence.num_tokens() >= config_.scheduler.max_context) {
        finish(sequence);
        return;
      }
      if (!accepted) break;
    }
    const auto num_held = static_cast<int>(sequence.block_table.size());
    scheduler_.on_drafts_verified(scheduled);
    ASSERT_GE(sequence.block_table.size() * static_cast<std::size_t>(config_.blocks.block_size),
              static_cast<std::size_t>(sequence.num_computed_tokens));
    ASSERT_LE(num_held - static_cast<int>(sequence.block_table.size()), scheduled.num_draft_blocks);
    if (config_.scheduler.policy == SchedulerPolicy::kInFlight &&
        config_.blocks.allocation == KvAllocation::kPaged && scheduled.num_drafts > 0) {
      ASSERT_LE(static_cast<int>(sequence.block_table.size()),
                blocks_.blocks_for(sequence.num_tokens()))
          << "blocks of rejected drafts are kept";
    }
  }

  void finish(Sequence& sequence) {
    Tokens alone(sequence.tokens.begin(), sequence.tokens.begin() + sequence.num_prompt_tokens);
    while (alone.size() < sequence.tokens.size()) alone.push_back(next_token(alone));
    ASSERT_EQ(sequence.tokens, alone);
    scheduler_.remove(sequence);
    finish_order_.push_back(sequence.arrival_index);
    live_.erase(sequence.arrival_index);
    ++num_finished_;
  }

  std::uint64_t below(int bound) { return random_.below(static_cast<std::uint64_t>(bound)); }

  SimulationConfig config_;
  RandomStream random_;
  BlockTables blocks_;
  Scheduler scheduler_;
  std::map<std::uint64_t, std::unique_ptr<Live>> live_;
  std::map<BlockId, Tokens> contents_;
  std::map<std::int32_t, Tokens> host_;  // by slot
  std::vector<std::uint64_t> finish_order_;
  int num_submitted_ = 0;
  int num_finished_ = 0;
  int num_cancelled_ = 0;
  int num_failed_ = 0;
  int num_steps_ = 0;
  int num_drafts_ = 0;
  int num_accepted_ = 0;
  std::int64_t num_swapped_out_ = 0;
  std::int64_t num_swapped_in_ = 0;
};

}  // namespace iol::testing
