#include "backend/cuda/product_chain.h"

#include <atomic>

#include "backend/cuda/cuda_error.h"

namespace iol::cuda {
namespace {

std::atomic<bool> somebody_chains = false;

}  // namespace

void multiply_alone(LinearTask product, const Stream& stream) {
  const bool is_unmade = product.x.form == RowForm::kUnmade;
  if (is_unmade && chains_make_row(product.matrix, product.num_tokens)) {
    PrepareTask task;
    task.source = product.x.source;
    task.num_rows = product.num_tokens;
    task.matrix = product.matrix;
    task.out = product.x;
    task.out.form = product.x.form = RowForm::kPlain;
    prepare_rows(task, stream.get());
    check_launch("preparing a row");
  }
  linear(product, stream.get());
}

ProductChain::Right::Right() : is_ours_(!somebody_chains.exchange(true)) {}

ProductChain::Right::~Right() {
  if (is_ours_) somebody_chains = false;
}

ProductChain::ProductChain(const Stream& stream)
    : stream_(&stream), scratch_(sizeof(ChainScratch), "what products leave each other") {}

void ProductChain::multiply(const LinearTask& product) {
  const bool goes_on = num_links_ > 0 && num_links_ < kMostLinks &&
                       are_linked(links_[num_links_ - 1], product) && can_be_link(product, false);
  if (!goes_on) flush();
  if (goes_on || (right_.is_ours() && can_be_link(product, true))) {
    links_[num_links_++] = product;
    return;
  }
  multiply_alone(product, *stream_);
  check_launch("multiplying by a weight matrix");
}

bool ProductChain::flush() {
  const ChainTask task = {links_, num_links_, scratch_.as<ChainScratch>()};
  const bool is_chain = num_links_ >= kLeastLinks;
  if (is_chain) {
    linear_chain(task, stream_->get());
  } else {
    for (int i = 0; i < num_links_; ++i) multiply_alone(links_[i], *stream_);
  }
  if (num_links_ > 0) check_launch("multiplying by weight matrices");
  num_links_ = 0;
  return is_chain;
}

}  // namespace iol::cuda
