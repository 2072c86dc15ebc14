#pragma once
// Steps that were captured, by their forms.
#include <compare>
#include <functional>
#include <map>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/step_forms.h"

namespace iol::cuda {

/// What a captured step depends on beside its arrays.
struct GraphKey {
  StepSizes sizes;
  const void* model = nullptr;
  const void* cache = nullptr;
  auto operator<=>(const GraphKey&) const = default;
};

class StepGraphs {
 public:
  /// Runs a step: as its graph, which is captured when the form comes for the second time. A form
  /// that comes once isn't worth one. False when it took longer than others of its form will.
  bool run(const GraphKey& key, const Stream& stream, const std::function<void()>& operations);
  /// Captures a form before it comes, without running it. False when memory for that is lacking.
  bool prepare(const GraphKey& key, const Stream& stream, const std::function<void()>& operations);
  void clear() { graphs_.clear(); }

 private:
  static bool capture(Graph& graph, const Stream& stream, const std::function<void()>& operations);

  std::map<GraphKey, Graph> graphs_;  // empty ones: seen once
};

}  // namespace iol::cuda
