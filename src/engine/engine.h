#pragma once
// The engine as a program sees it: submit requests, receive tokens as they come, cancel, drain,
// read statistics.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/device.h"
#include "backend/weight_format.h"
#include "base/cpu.h"
#include "base/dtype.h"
#include "kv_cache/kv_allocation.h"
#include "kv_cache/preemption_mode.h"
#include "model/config.h"
#include "request/request.h"
#include "scheduler/scheduler_policy.h"
#include "speculative/speculation_config.h"

namespace iol {

class Tokenizer;

struct EngineConfig {
  std::string model = "demo";     // folder, Hub id in the local cache, `demo` or `synthetic:NAME`
  Device device;                  // where it runs
  std::optional<DType> dtype;     // compute and weight dtype; nothing: the checkpoint's own
  std::optional<DType> kv_dtype;  // see kv_format.h; nothing: like dtype
  Quantization quant;             // of the weights; an engine directory brings its own
  bool verify = false;            // check the hashes of an engine directory's weights
  std::optional<Isa> isa;         // nothing: the best
  int num_threads = 0;            // 0: what affinity and cgroup allow
  int max_batch = 64;             // sequences in a step
  int max_step_tokens = 0;        // prefill and decode together; 0: default_step_tokens()
  int max_context = 0;            // positions per sequence; 0: the model's own
  std::int64_t kv_cache_tokens =
      0;  // capacity; 0: max_batch sequences of max_context, at most half the free memory
  int block_size = 16;
  SchedulerPolicy scheduler = SchedulerPolicy::kInFlight;
  KvAllocation kv_allocation = KvAllocation::kPaged;
  bool prefix_cache = true;
  PreemptionMode preemption = PreemptionMode::kRecompute;
  std::int64_t swap_space_bytes = std::int64_t{4} << 30;  // of the host, for kSwap
  bool deterministic = false;  // no token depends on its batch; only Hopper GPUs need to be told
  std::uint64_t seed = 0;
  SpeculationConfig speculation;
};

/// One token (or the end) of one request. Delivered from the engine's thread, in order for a
/// request.
struct TokenEvent {
  RequestId request = 0;
  std::optional<std::int32_t> token;  // nothing: the end brought no token
  std::string text;                   // what became readable with it: whole UTF-8 characters
  std::optional<TokenLogprobs> logprobs;
  bool was_drafted = false;                   // an accepted draft: it came beside another token
  std::int64_t time_ns = 0;                   // when the step that made it ended
  std::optional<FinishReason> finish_reason;  // set on the last event
  std::string error;                          // for FinishReason::kError
};

/// Must not block and must not throw. It may call submit() and cancel().
using TokenCallback = std::function<void(const TokenEvent&)>;

/// One step, as seen from outside (for `--trace-steps` and statistics).
struct StepRecord {
  std::int64_t start_ns = 0;
  std::int64_t duration_ns = 0;
  // All but drafting and the forward pass or, on a device that runs ahead, the wait for it.
  std::int64_t host_ns = 0;
  int num_prefill_tokens = 0;
  int num_decode_tokens = 0;
  int num_draft_tokens = 0;                    // verified in this step
  std::int64_t num_accepted_draft_tokens = 0;  // of them
  int draft_depth = 0;                         // chosen for this step; a probe is not counted
  double predicted_speedup = 1;                // of this step, over no drafts
  std::int64_t draft_ns = 0;                   // spent on drafting, within duration_ns
  int num_running = 0;
  int num_waiting = 0;
  int num_blocks_used = 0;
  int num_swapped_out_blocks = 0;  // copied to the host before this step
  int num_swapped_in_blocks = 0;   // and from it
};

struct EngineStats {
  std::int64_t num_steps = 0;
  std::int64_t prompt_tokens = 0;  // computed, not found in the prefix index
  std::int64_t cached_tokens = 0;  // found in the prefix index
  std::int64_t generated_tokens = 0;
  std::int64_t num_preemptions = 0;
  std::int64_t num_swapped_out_blocks = 0;     // copied to the host
  std::int64_t num_swapped_in_blocks = 0;      // and from it
  std::int64_t num_draft_tokens = 0;           // verified
  std::int64_t num_accepted_draft_tokens = 0;  // of them
  std::int64_t draft_ns = 0;                   // spent on drafting, within step_ns
  double draft_acceptance = 0;                 // lately; see SpeculationStats
  double predicted_speedup = 1;                // of the last step by speculation
  int draft_depth = 0;                         // of the last step
  std::string draft_error;                     // why drafting was given up; empty while it works
  std::string device_error;                    // why the device is lost; empty while it works
  std::int64_t step_ns = 0;                    // total
  std::int64_t host_ns = 0;                    // of which outside drafting and the forward pass
  int num_running = 0;
  int num_waiting = 0;
  int num_blocks = 0;
  int num_blocks_used = 0;
  int num_swap_slots = 0;  // room for blocks in the host's memory
  int num_swap_slots_used = 0;
};

/// What the engine reserved, in bytes.
struct EngineMemory {
  std::int64_t weights_bytes = 0;
  std::int64_t kv_cache_bytes = 0;
  std::int64_t activations_bytes = 0;
  std::int64_t draft_model_bytes = 0;  // weights, KV cache and activations of the draft model
  std::int64_t swap_space_bytes = 0;   // of the host
};

/// Threading: every member may be called from any thread. The destructor cancels what is left.
class Engine {
 public:
  /// Loads the model. Throws InputError for a bad model or option, ResourceError when memory is
  /// short.
  static std::unique_ptr<Engine> create(const EngineConfig& config);
  virtual ~Engine() = default;

  /// Throws InputError when the request can never run (empty or too long a prompt, a bad
  /// parameter), DeviceError when the device was lost.
  virtual RequestId submit(Request request, TokenCallback on_token) = 0;
  /// Does nothing for a request that has ended.
  virtual void cancel(RequestId request) = 0;
  /// Returns when no request is left.
  virtual void drain() = 0;

  [[nodiscard]] virtual EngineStats stats() const = 0;
  [[nodiscard]] virtual EngineMemory memory() const = 0;
  /// Called after each step from the engine's thread; an empty function removes it.
  virtual void on_step(std::function<void(const StepRecord&)> observer) = 0;
  /// Forgets every cached prefix (between repetitions of a measurement).
  virtual void clear_prefix_cache() = 0;

  [[nodiscard]] virtual const EngineConfig& config() const = 0;  // with defaults filled in
  [[nodiscard]] virtual const ModelConfig& model_config() const = 0;
  /// Null for synthetic models.
  [[nodiscard]] virtual const Tokenizer* tokenizer() const = 0;
  [[nodiscard]] virtual std::string backend_name() const = 0;
};

}  // namespace iol
