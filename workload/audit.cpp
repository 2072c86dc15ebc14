#include "workload/audit.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace iol {
namespace {

LengthSummary summarize(const LengthHistogram& lengths) {
  const auto percentiles = lengths.percentiles({50, 90, 95, 99});
  return {.mean = lengths.mean(),
          .total = lengths.sum(),
          .p50 = percentiles[0],
          .p90 = percentiles[1],
          .p95 = percentiles[2],
          .p99 = percentiles[3],
          .max = lengths.max()};
}

std::size_t bucket(const std::array<std::int64_t, 6>& edges, std::int64_t length) {
  const auto edge = std::lower_bound(edges.begin(), edges.end(), length);
  return std::min<std::size_t>(static_cast<std::size_t>(edge - edges.begin()), edges.size() - 1);
}

/// Pearson's correlation in one pass (Welford's update).
class Correlation {
 public:
  void add(double x, double y) {
    ++count_;
    const double n = static_cast<double>(count_);
    const double dx = x - mean_x_;
    mean_x_ += dx / n;
    const double dy = y - mean_y_;
    mean_y_ += dy / n;
    xx_ += dx * (x - mean_x_);
    yy_ += dy * (y - mean_y_);
    xy_ += dx * (y - mean_y_);
  }
  [[nodiscard]] std::optional<double> value() const {
    if (count_ < 3 || xx_ <= 0 || yy_ <= 0) return std::nullopt;
    return std::clamp(xy_ / std::sqrt(xx_ * yy_), -1.0, 1.0);
  }

 private:
  std::int64_t count_ = 0;
  double mean_x_ = 0, mean_y_ = 0, xx_ = 0, yy_ = 0, xy_ = 0;
};

/// Static batches in order of arrival.
class StaticBatches {
 public:
  explicit StaticBatches(std::int64_t size) : size_(size) {}
  void add(std::int64_t output_tokens) {
    longest_ = std::max(longest_, output_tokens);
    used_ += static_cast<double>(output_tokens);
    if (++filled_ == size_) close();
  }
  [[nodiscard]] double waste() {
    if (filled_ > 0) close();
    return taken_ > 0 ? 1 - used_ / taken_ : 0;
  }

 private:
  void close() {
    taken_ += static_cast<double>(longest_) * static_cast<double>(filled_);
    longest_ = 0;
    filled_ = 0;
  }
  std::int64_t size_;
  std::int64_t filled_ = 0;
  std::int64_t longest_ = 0;
  double used_ = 0;
  double taken_ = 0;
};

/// All that one pass gathers.
class Audit {
 public:
  explicit Audit(const AuditOptions& options)
      : blocks_(options.max_block_ids),
        concurrency_(options.times),
        batches_(options.static_batch) {}

  void add(const TraceRequest& request, Workload& workload) {
    ++workload.requests;
    if (request.t_ns) arrivals_.add(*request.t_ns, request.output_tokens);
    if (request.failed) {
      ++workload.failed;
      return;
    }
    const std::int64_t input = request.input_tokens;
    const std::int64_t output = request.output_tokens;
    input_.add(input);
    output_.add(output);
    total_.add(input + output);
    workload.joint[bucket(kInputEdges, input)][bucket(kOutputEdges, output)] += 1;
    correlation_.add(std::log1p(static_cast<double>(input)),
                     std::log1p(static_cast<double>(output)));
    batches_.add(output);
    if (request.t_ns) concurrency_.add(*request.t_ns, input, output);
    blocks_.add(request.block_ids);
  }

  void finish(Workload& workload) {
    workload.input = summarize(input_);
    workload.output = summarize(output_);
    workload.total = summarize(total_);
    for (auto& row : workload.joint) {
      for (double& share : row) share /= static_cast<double>(input_.count());
    }
    workload.length_correlation = correlation_.value();
    workload.static_batch_waste = batches_.waste();
    workload.contiguous_waste =
        total_.max() > 0 ? 1 - total_.mean() / static_cast<double>(total_.max()) : 0;
    if (arrivals_.count() > 0) {
      workload.arrivals = arrivals_.summary();
      workload.concurrency = concurrency_.summary();
    }
    if (blocks_.accesses() > 0) {
      workload.prefixes = PrefixSharing{.blocks = static_cast<double>(blocks_.accesses()),
                                        .different = blocks_.different(),
                                        .shared = blocks_.hit_share(),
                                        .sampled = blocks_.sampled_share()};
    }
  }

 private:
  LengthHistogram input_;
  LengthHistogram output_;
  LengthHistogram total_;
  Correlation correlation_;
  Arrivals arrivals_;
  SeenBlocks blocks_;
  Concurrency concurrency_;
  StaticBatches batches_;
};

}  // namespace

Workload audit_trace(TraceReader& trace, const std::string& path, const AuditOptions& options) {
  Workload workload;
  workload.path = path;
  workload.form = trace.form();
  workload.lengths_are_estimated = trace.lengths_are_estimated();
  workload.options = options;
  Audit audit(options);
  TraceRequest request;
  while (trace.next(request)) audit.add(request, workload);
  workload.skipped = trace.skipped();
  if (workload.requests == workload.failed) {
    throw_input_error("{}: {} requests, none of them with an output; there is nothing to audit",
                      path, workload.requests);
  }
  audit.finish(workload);
  return workload;
}

}  // namespace iol
