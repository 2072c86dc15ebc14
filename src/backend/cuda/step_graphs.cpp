#include "backend/cuda/step_graphs.h"

#include "backend/cuda/cuda_error.h"

namespace iol::cuda {

bool StepGraphs::run(const GraphKey& key, const Stream& stream,
                     const std::function<void()>& operations) {
  const auto found = graphs_.find(key);
  if (found == graphs_.end()) {
    operations();
    graphs_.emplace(key, Graph());
    return false;
  }
  const bool was_captured = found->second.is_captured();
  if (was_captured || capture(found->second, stream, operations)) {
    found->second.launch(stream);
    return was_captured;
  }
  operations();
  return true;  // as it will be until there is memory for a graph
}

bool StepGraphs::prepare(const GraphKey& key, const Stream& stream,
                         const std::function<void()>& operations) {
  Graph& graph = graphs_[key];
  if (graph.is_captured()) return true;
  if (!capture(graph, stream, operations)) {
    graphs_.erase(key);
    return false;
  }
  graph.upload(stream);
  return true;
}

/// False when somebody else has taken the memory that a graph needs: the step can do without.
bool StepGraphs::capture(Graph& graph, const Stream& stream,
                         const std::function<void()>& operations) {
  try {
    graph = Graph::capture(stream, operations);
    return true;
  } catch (const CudaOutOfMemory&) {
    return false;
  }
}

}  // namespace iol::cuda
