#include "scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <memory>

#include "base/error.h"

namespace iol {
namespace {

/// A scheduler with its blocks, and sequences whose tokens do not matter.
class SchedulerTest : public ::testing::Test {
 protected:
  void make(const SchedulerConfig& config, BlockTablesConfig blocks) {
    blocks.prefix_cache = false;
    blocks_ = std::make_unique<BlockTables>(blocks);
    scheduler_ = std::make_unique<Scheduler>(config, *blocks_);
  }

  Sequence& submit(int num_prompt, int max_tokens, int priority = 0) {
    auto sequence = std::make_unique<Sequence>();
    sequence->arrival_index = sequences_.size();
    sequence->priority = priority;
    sequence->tokens.assign(static_cast<std::size_t>(num_prompt), 5);
    sequence->num_prompt_tokens = num_prompt;
    sequence->sampling.max_tokens = max_tokens;
    sequences_.push_back(std::move(sequence));
    scheduler_->add(*sequences_.back());
    return *sequences_.back();
  }

  /// One whole step in which nothing ends; the tokens per sequence, in the batch's order.
  std::vector<std::pair<const Sequence*, int>> step() {
    const Batch& batch = scheduler_->schedule();
    std::vector<std::pair<const Sequence*, int>> planned;
    scheduler_->on_step_done(batch);
    for (const auto& scheduled : batch.sequences) {
      planned.emplace_back(scheduled.sequence, scheduled.num_tokens);
      if (scheduled.needs_logits) scheduled.sequence->tokens.push_back(6);
    }
    return planned;
  }

  using Plan = std::vector<std::pair<const Sequence*, int>>;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::unique_ptr<BlockTables> blocks_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTest, decodes_come_first_and_prefills_share_what_is_left) {
  make({.max_batch = 4, .max_step_tokens = 8, .max_context = 100}, {.num_blocks = 100});
  Sequence& a = submit(3, 50);
  EXPECT_EQ(step(), (Plan{{&a, 3}}));
  Sequence& b = submit(10, 50);
  Sequence& c = submit(4, 50);
  EXPECT_EQ(step(), (Plan{{&a, 1}, {&b, 7}}));
  EXPECT_EQ(step(), (Plan{{&a, 1}, {&b, 3}, {&c, 4}}));
  EXPECT_EQ(step(), (Plan{{&a, 1}, {&b, 1}, {&c, 1}}));
}

TEST_F(SchedulerTest, a_smaller_priority_number_is_admitted_first) {
  make({.max_batch = 1, .max_step_tokens = 8, .max_context = 100}, {.num_blocks = 100});
  Sequence& low = submit(2, 4, 3);
  Sequence& high = submit(2, 4, -1);
  Sequence& high_later = submit(2, 4, -1);
  EXPECT_EQ(step(), (Plan{{&high, 2}}));
  scheduler_->remove(high);
  EXPECT_EQ(step(), (Plan{{&high_later, 2}}));
  scheduler_->remove(high_later);
  EXPECT_EQ(step(), (Plan{{&low, 2}}));
}

TEST_F(SchedulerTest, drafts_count_in_the_budget_and_leave_a_token_to_everyone) {
  make({.max_batch = 3, .max_step_tokens = 6, .max_context = 100, .max_step_drafts = 8},
       {.num_blocks = 100});
  Sequence& a = submit(1, 50);
  Sequence& b = submit(1, 50);
  Sequence& c = submit(1, 50);
  step();
  a.draft_tokens.assign(2, 7);
  c.draft_tokens.assign(5, 7);
  const Batch& batch = scheduler_->schedule();
  ASSERT_EQ(batch.sequences.size(), 3U);
  EXPECT_EQ(batch.sequences[0].num_drafts, 2);
  EXPECT_EQ(batch.sequences[1].num_drafts, 0);
  EXPECT_EQ(batch.sequences[2].num_drafts, 1);  // six tokens in all
  EXPECT_EQ(batch.sequences[1].sequence, &b);
  EXPECT_EQ(batch.num_tokens(), 6);
}

TEST_F(SchedulerTest, drafts_of_a_step_have_a_limit_of_their_own) {
  make({.max_batch = 2, .max_step_tokens = 16, .max_context = 100, .max_step_drafts = 3},
       {.num_blocks = 100});
  Sequence& a = submit(1, 50);
  Sequence& b = submit(1, 50);
  step();
  a.draft_tokens.assign(2, 7);
  b.draft_tokens.assign(2, 7);
  const Batch& batch = scheduler_->schedule();
  EXPECT_EQ(batch.sequences[0].num_drafts, 2);
  EXPECT_EQ(batch.sequences[1].num_drafts, 1);
}

TEST_F(SchedulerTest, rejected_drafts_are_not_computed_and_give_their_blocks_back) {
  make({.max_batch = 1, .max_step_tokens = 16, .max_context = 100, .max_step_drafts = 8},
       {.num_blocks = 100, .block_size = 2});
  Sequence& a = submit(2, 50);
  step();
  a.draft_tokens.assign(6, 7);
  const Batch verified = scheduler_->schedule();
  ASSERT_EQ(verified.sequences[0].num_drafts, 6);
  EXPECT_EQ(a.block_table.size(), 5U);  // nine positions
  scheduler_->on_step_done(verified);
  a.tokens.push_back(7);
  scheduler_->on_draft_accepted(a);
  a.tokens.push_back(8);
  scheduler_->on_drafts_verified(verified.sequences[0]);
  EXPECT_EQ(a.num_computed_tokens, 4);
  EXPECT_EQ(a.block_table.size(), 2U);
  EXPECT_TRUE(a.draft_tokens.empty());
  EXPECT_EQ(step(), (Plan{{&a, 1}}));
}

TEST_F(SchedulerTest, nobody_is_preempted_for_a_draft) {
  make({.max_batch = 4, .max_step_tokens = 16, .max_context = 100, .max_step_drafts = 8},
       {.num_blocks = 3, .block_size = 4});
  Sequence& a = submit(3, 8);
  Sequence& b = submit(3, 3);
  step();
  a.draft_tokens.assign(6, 7);
  const Batch& batch = scheduler_->schedule();
  ASSERT_EQ(batch.sequences.size(), 2U);
  EXPECT_EQ(batch.sequences[0].num_drafts, 4);  // one block was left
  EXPECT_EQ(b.num_preemptions, 0);
}

TEST_F(SchedulerTest, preemption_takes_the_latest_and_recomputes_its_output_too) {
  make({.max_batch = 4, .max_step_tokens = 16, .max_context = 100},
       {.num_blocks = 4, .block_size = 4});
  Sequence& a = submit(4, 9);
  Sequence& b = submit(4, 9);
  EXPECT_EQ(step(), (Plan{{&a, 4}, {&b, 4}}));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(step(), (Plan{{&a, 1}, {&b, 1}}));
  EXPECT_EQ(step(), (Plan{{&a, 1}}));  // needs a third block
  EXPECT_EQ(b.num_preemptions, 1);
  EXPECT_EQ(scheduler_->num_waiting(), 1);
  EXPECT_TRUE(b.block_table.empty());
  EXPECT_EQ(b.num_computed_tokens, 0);
  scheduler_->remove(a);
  EXPECT_EQ(step(), (Plan{{&b, 9}}));  // 4 of the prompt, 5 of its output
}

TEST_F(SchedulerTest, the_preempted_wait_before_later_arrivals) {
  make({.max_batch = 4, .max_step_tokens = 16, .max_context = 100},
       {.num_blocks = 4, .block_size = 4});
  Sequence& a = submit(4, 9);
  Sequence& b = submit(4, 9);
  step();
  Sequence& c = submit(1, 2);
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(scheduler_->queues().running(), (std::vector<Sequence*>{&a}));
  EXPECT_EQ(scheduler_->queues().waiting(), (std::deque<Sequence*>{&b, &c}));
}

TEST_F(SchedulerTest, a_large_request_at_the_head_is_not_overtaken) {
  make({.max_batch = 4, .max_step_tokens = 64, .max_context = 100},
       {.num_blocks = 8, .block_size = 4});
  Sequence& running = submit(12, 8);
  step();
  Sequence& large = submit(24, 4);
  Sequence& small = submit(1, 4);
  EXPECT_EQ(step(), (Plan{{&running, 1}}));
  scheduler_->remove(running);
  EXPECT_EQ(step(), (Plan{{&large, 24}, {&small, 1}}));
}

TEST_F(SchedulerTest, static_batches_finish_before_the_next_begins) {
  make({.policy = SchedulerPolicy::kStatic,
        .max_batch = 2,
        .max_step_tokens = 4,
        .max_context = 100},
       {.num_blocks = 100});
  Sequence& a = submit(3, 50);
  Sequence& b = submit(3, 50);
  Sequence& c = submit(1, 50);
  EXPECT_EQ(step(), (Plan{{&a, 3}, {&b, 1}}));
  EXPECT_EQ(step(), (Plan{{&b, 2}}));  // no decode before the last prompt is computed
  EXPECT_EQ(step(), (Plan{{&a, 1}, {&b, 1}}));
  scheduler_->remove(a);
  EXPECT_EQ(step(), (Plan{{&b, 1}}));
  scheduler_->remove(b);
  EXPECT_EQ(step(), (Plan{{&c, 1}}));
}

TEST_F(SchedulerTest, can_ever_fit_knows_the_last_token_is_never_computed) {
  make({.max_batch = 2, .max_step_tokens = 8, .max_context = 20},
       {.num_blocks = 4, .block_size = 4});
  EXPECT_EQ(scheduler_->max_cached_positions(10, 7), 16);
  EXPECT_EQ(scheduler_->max_cached_positions(10, 2147483647), 19);
  EXPECT_EQ(scheduler_->max_cached_positions(20, 1), 20);
  EXPECT_TRUE(scheduler_->can_ever_fit(16));
  EXPECT_FALSE(scheduler_->can_ever_fit(17));
  EXPECT_THROW(submit(10, 8), InternalError);
  EXPECT_NO_THROW(submit(10, 7));
}

TEST_F(SchedulerTest, cancelling_frees_blocks_and_forgets) {
  make({.max_batch = 1, .max_step_tokens = 8, .max_context = 100}, {.num_blocks = 10});
  Sequence& running = submit(8, 4);
  Sequence& waiting = submit(8, 4);
  step();
  scheduler_->remove(waiting);
  EXPECT_EQ(scheduler_->num_waiting(), 0);
  scheduler_->remove(running);
  EXPECT_TRUE(scheduler_->empty());
  EXPECT_EQ(blocks_->num_blocks_used(), 0);
  EXPECT_THROW(scheduler_->remove(running), InternalError);
  EXPECT_TRUE(scheduler_->schedule().empty());
}

TEST_F(SchedulerTest, refuses_limits_below_one) {
  const BlockTablesConfig blocks{.num_blocks = 4};
  EXPECT_THROW(make({.max_batch = 0, .max_context = 4}, blocks), InputError);
  EXPECT_THROW(make({.max_step_tokens = 0, .max_context = 4}, blocks), InputError);
  EXPECT_THROW(make({.max_context = 0}, blocks), InputError);
}

}  // namespace
}  // namespace iol
