#pragma once
// What each lever would do for a workload, from the workload's own numbers and, when a model is
// named, from what `iol plan` knows of it.
#include <optional>
#include <string>
#include <vector>

#include "workload/audit.h"

namespace iol {

/// Bytes of a model, as planned.
struct ModelBytes {
  std::string name;
  double weights = 0;  // in the compute dtype
  double weights_int8 = 0;
  double weights_int4 = 0;
  double kv_per_token = 0;
  double kv_per_token_int8 = 0;
};

struct Advice {
  enum class Verdict { kHelps, kLittle, kUnknown };
  std::string lever;
  Verdict verdict = Verdict::kUnknown;
  /// How many times better, at best, the quantity that `why` names; nothing when it can't be told.
  std::optional<double> factor;
  std::string why;  // with the numbers that it rests on
};

std::string_view verdict_name(Advice::Verdict verdict);

/// One per lever: in-flight batching, paged KV cache, prefix cache, chunked prefill, quantized
/// weights, quantized KV cache, speculation.
std::vector<Advice> advise(const Workload& workload, const std::optional<ModelBytes>& model);

}  // namespace iol
