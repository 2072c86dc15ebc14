#include "engine/inbox.h"

#include <utility>

namespace iol {

bool Inbox::has_mail() const {
  return contents_.stopping || contents_.clear_prefixes || !contents_.submitted.empty() ||
         !contents_.cancelled.empty();
}

void Inbox::submit(std::unique_ptr<RequestState> request) {
  {
    const std::lock_guard lock(mutex_);
    contents_.submitted.push_back(std::move(request));
    ++num_active_;
  }
  mail_.notify_one();
}

void Inbox::cancel(RequestId request) {
  {
    const std::lock_guard lock(mutex_);
    contents_.cancelled.push_back(request);
  }
  mail_.notify_one();
}

void Inbox::clear_prefixes() {
  {
    const std::lock_guard lock(mutex_);
    contents_.clear_prefixes = true;
  }
  mail_.notify_one();
}

void Inbox::stop() {
  {
    const std::lock_guard lock(mutex_);
    contents_.stopping = true;
  }
  mail_.notify_one();
}

Inbox::Contents Inbox::take(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) mail_.wait(lock, [&] { return has_mail(); });
  return std::exchange(contents_, {});
}

void Inbox::set_num_active(std::size_t num_active) {
  const std::lock_guard lock(mutex_);
  num_active_ = num_active + contents_.submitted.size();
  if (num_active_ == 0) idle_.notify_all();
}

void Inbox::wait_until_idle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return num_active_ == 0; });
}

}  // namespace iol
