#include "backend/cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cuda/cuda_activations.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_kv_cache.h"
#include "backend/cuda/cuda_matrix.h"
#include "backend/cuda/cuda_swap_space.h"
#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/sample.h"
#include "backend/cuda/kernels/step_copies.h"
#include "backend/cuda/step_operations.h"
#include "base/cpu.h"

namespace iol {
namespace cuda {
namespace {

CudaActivations& scratch_of(Activations& activations) {
  return static_cast<CudaActivations&>(activations);
}

void check_compute_dtype(DType dtype) {
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16)
    throw_input_error("the CUDA backend computes in f32, f16 or bf16, not in {}",
                      dtype_name(dtype));
}

/// Of so many rows' results, as they are copied: in units of 16 bytes.
std::size_t result_bytes(int num_logits) {
  return (static_cast<std::size_t>(num_logits) * sizeof(unsigned long long) + 15) / 16 * 16;
}

/// Makes a GPU the calling thread's.
struct DeviceGuard {
  explicit DeviceGuard(int index) { check(cudaSetDevice(index), "selecting the GPU"); }
};

}  // namespace

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaBackendOptions& options)
      : device_(usable_device(options.index)),
        guard_(options.index),
        dtype_(options.dtype),
        num_threads_(options.num_threads > 0 ? options.num_threads : default_num_threads()),
        packer_(stream_, num_threads_),
        operations_(stream_, options.dtype, options.deterministic) {
    check_compute_dtype(dtype_);
    check_kernel_level();
  }

  [[nodiscard]] std::string name() const override {
    return fmt::format("cuda:{} ({}, sm_{})", device_.index, device_.name, device_.capability);
  }
  MatrixPtr pack(const StackedMatrix& matrix) override {
    select();
    return packer_.pack(matrix, dtype_);
  }
  VectorPtr upload(const StackedMatrix& vector) override {
    select();
    return std::make_unique<CudaVector>(vector);
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheShape& shape) override {
    select();
    return std::make_unique<CudaKvCache>(shape);
  }
  std::unique_ptr<KvSwapSpace> make_swap_space(KvCache& cache, int num_slots) override {
    select();
    return std::make_unique<CudaSwapSpace>(static_cast<CudaKvCache&>(cache), num_slots,
                                           num_threads_, stream_);
  }
  std::unique_ptr<Activations> make_activations(const TransformerShape& shape, int max_tokens,
                                                int max_logit_tokens) override {
    select();
    return std::make_unique<CudaActivations>(shape, max_tokens, max_logit_tokens);
  }
  void observe_linear_inputs(LinearInputObserver* observer) override {
    operations_.observe(observer);
  }

  void run_step(Activations& activations, const StepInput& input, const void* model,
                const KvCache& cache, const std::function<void()>& operations) override;
  void prepare_steps(Activations& activations, const StepLimits& limits, const void* model,
                     const KvCache& cache, const std::function<void()>& operations) override;
  [[nodiscard]] bool samples() const override { return true; }
  [[nodiscard]] bool runs_ahead() const override { return true; }
  [[nodiscard]] bool ran_prepared() const override { return ran_prepared_; }
  void finish_step(Activations& activations) override;
  void embed(Activations& activations, const StepInput&, const WeightMatrix& table) override {
    IOL_CHECK(in_step_);
    operations_.embed(scratch_of(activations), table);
  }
  void project_qkv(Activations& activations, const StepInput&, const LayerWeights& weights,
                   KvCache& cache, int layer) override {
    operations_.project_qkv(scratch_of(activations), weights, cache, layer);
  }
  void attend(Activations& activations, const StepInput&, const KvCache& cache, int layer,
              std::optional<int> window) override {
    operations_.attend(scratch_of(activations), cache, layer, window);
  }
  void project_output(Activations& activations, const StepInput&,
                      const LayerWeights& weights) override {
    operations_.project_output(scratch_of(activations), weights);
  }
  void feed_forward(Activations& activations, const StepInput&,
                    const LayerWeights& weights) override {
    operations_.feed_forward(scratch_of(activations), weights);
  }
  void project_logits(Activations& activations, const StepInput&, const WeightVector& final_norm,
                      const WeightMatrix& head) override {
    operations_.project_logits(scratch_of(activations), final_norm, head);
  }
  std::span<float> logits(Activations& activations, int row) override;
  std::int32_t chosen_token(Activations& activations, int row) override;

 private:
  void select() const { DeviceGuard guard(device_.index); }
  /// Brings the step's input to the device, padded to `sizes`.
  void begin(CudaActivations& a, const StepInput& input, const StepSizes& sizes, int block_size);
  [[nodiscard]] bool has_decode_kernel(const KvCache& cache) const;
  /// Behind a step, where not all tokens are those with the largest logits. Not a part of what is
  /// captured: it would give every step a second form.
  void draw_tokens(CudaActivations& a, const StepInput& input);
  /// Behind that: copies what the host reads of it.
  void fetch_results(CudaActivations& a, int num_logits);

  const CudaDevice& device_;
  DeviceGuard guard_;
  DType dtype_;
  int num_threads_;  // of the host
  Stream stream_;
  MatrixPacker packer_;
  StepOperations operations_;
  bool in_step_ = false;
  bool ran_prepared_ = true;  // of the last step: its form was captured before
};

void CudaBackend::begin(CudaActivations& a, const StepInput& input, const StepSizes& sizes,
                        int block_size) {
  select();
  IOL_CHECK(sizes.num_tokens <= a.max_tokens && sizes.num_logits <= a.max_logit_tokens);
  IOL_CHECK(a.num_begun - a.num_finished < 2);  // whose turn it is has been read
  a.inputs.upload(input, sizes, block_size, stream_);
  operations_.begin(sizes);
}

void CudaBackend::run_step(Activations& activations, const StepInput& input, const void* model,
                           const KvCache& cache, const std::function<void()>& operations) {
  auto& a = scratch_of(activations);
  const auto run = [&] {
    operations();
    operations_.flush();
  };
  const StepForms& forms = a.inputs.forms();
  const bool capturable = forms.has_few_tokens(input) && !operations_.is_observed();
  const bool decodes = has_decode_kernel(cache);
  const StepSizes sizes =
      capturable ? forms.padded_sizes(input, decodes) : forms.sizes_of(input, decodes);
  begin(a, input, sizes, cache.shape().block_size);
  in_step_ = true;
  try {
    if (a.graph_generation != a.inputs.table_generation()) {
      stream_.synchronize("a step");
      a.graphs.clear();
    }
    a.graph_generation = a.inputs.table_generation();
    ran_prepared_ = true;
    if (capturable) {
      ran_prepared_ = a.graphs.run({sizes, model, &cache}, stream_, run);
    } else {
      run();
    }
    draw_tokens(a, input);
    fetch_results(a, static_cast<int>(input.logit_tokens.size()));
  } catch (...) {
    in_step_ = false;
    throw;
  }
  in_step_ = false;
}

void CudaBackend::prepare_steps(Activations& activations, const StepLimits& limits,
                                const void* model, const KvCache& cache,
                                const std::function<void()>& operations) {
  constexpr std::size_t kMost = 96;  // graphs, of a model of 32 layers a quarter of a second
  auto& a = scratch_of(activations);
  if (operations_.is_observed()) return;
  select();
  auto sizes = a.inputs.forms().padded_sizes_within(limits, has_decode_kernel(cache));
  if (sizes.size() > kMost) sizes.resize(kMost);
  for (const StepSizes& form : sizes) {
    a.inputs.place(form);
    operations_.begin(form);
    in_step_ = true;
    const bool is_there = a.graphs.prepare({form, model, &cache}, stream_, [&] {
      operations();
      operations_.flush();
    });
    in_step_ = false;
    if (!is_there) return;
  }
}

bool CudaBackend::has_decode_kernel(const KvCache& cache) const {
  const CacheView view = static_cast<const CudaKvCache&>(cache).layer(0);
  return operations_.query_element(view.element) != Element::kF32 && attention_decodes(view);
}

void CudaBackend::draw_tokens(CudaActivations& a, const StepInput& input) {
  const auto is_drawn = [](const TokenChoice& choice) { return choice.temperature > 0; };
  if (std::ranges::none_of(input.choices, is_drawn)) return;
  const auto num_rows = static_cast<int>(input.choices.size());
  sample({a.logits, a.inputs.arrays().choices, num_rows, a.shape.vocab_size, a.best},
         stream_.get());
  check_launch("choosing tokens");
}

void CudaBackend::fetch_results(CudaActivations& a, int num_logits) {
  auto& results = a.results[a.num_begun % 2];
  if (num_logits > 0) {
    leave_results({a.best, results.best.data(), result_bytes(num_logits)}, stream_.get());
    check_launch("copying results");
  }
  results.done.record(stream_);
  results.num_logits = num_logits;
  ++a.num_begun;
}

void CudaBackend::finish_step(Activations& activations) {
  auto& a = scratch_of(activations);
  IOL_CHECK(a.num_finished < a.num_begun);
  const auto& results = a.results[a.num_finished++ % 2];
  a.logits_are_here = false;
  results.done.synchronize();
}

std::span<float> CudaBackend::logits(Activations& activations, int row) {
  auto& a = scratch_of(activations);
  const int num_logits = a.finished_last().num_logits;
  IOL_CHECK(row < num_logits && a.num_finished == a.num_begun);
  const auto vocabulary = static_cast<std::size_t>(a.shape.vocab_size);
  auto* host = reinterpret_cast<float*>(a.host_logits.data());
  if (!a.logits_are_here) {
    select();
    const std::size_t bytes = static_cast<std::size_t>(num_logits) * vocabulary * sizeof(float);
    check(cudaMemcpyAsync(host, a.logits, bytes, cudaMemcpyDeviceToHost, stream_.get()),
          "copying logits");
    stream_.synchronize("copying logits");
    a.logits_are_here = true;
  }
  return {host + static_cast<std::size_t>(row) * vocabulary, vocabulary};
}

std::int32_t CudaBackend::chosen_token(Activations& activations, int row) {
  auto& a = scratch_of(activations);
  const auto& results = a.finished_last();
  IOL_CHECK(row < results.num_logits);
  const auto key = reinterpret_cast<const unsigned long long*>(results.best.data())[row];
  const std::uint64_t order = key >> 32;  // 0: drawn
  if (order == kOrderOfNan || order == kOrderOfMinusInfinity) return kNoToken;
  return static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace iol
