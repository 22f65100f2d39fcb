#include "rpc/polling_page.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace manta::rpc {
namespace {

constexpr Duration kPollTimeMin = std::chrono::microseconds(20);
constexpr Duration kPollTimeMax = std::chrono::microseconds(200);
constexpr Duration kWakeCostUnmeasured = std::chrono::microseconds(50);
constexpr int32_t kAwakePerSlotMax = 65'536;
constexpr int kWakes = 9;

// The sum of the slots in use, or the first value above `enough` that it reaches.
uint32_t SumAwake(const PollingLayout& page, uint32_t enough) {
  const uint32_t used = std::min(page.slots_used.load(std::memory_order_relaxed), PollingLayout::kSlots);
  uint32_t sum = 0;
  for (uint32_t slot = 0; slot < used && sum <= enough; ++slot) {
    // Whatever a broken process wrote: its own share, and not below nothing.
    const auto awake = static_cast<int32_t>(page.awake[slot].load(std::memory_order_relaxed));
    sum += static_cast<uint32_t>(std::clamp(awake, 0, kAwakePerSlotMax));
  }
  return sum;
}

}  // namespace

absl::StatusOr<PollingSlot> PollingSlot::Open(int page_fd, uint32_t slot, int cpus) {
  if (const auto size = base::CheckSealed(page_fd, sizeof(PollingLayout)); !size.ok()) {
    return base::Annotate(size.status(), "polling page");
  }
  if (slot >= PollingLayout::kSlots) return absl::InvalidArgumentError("polling slot " + std::to_string(slot));
  MANTA_ASSIGN_OR_RETURN(base::Mapping mapping,
                         base::Mapping::Map(page_fd, sizeof(PollingLayout), base::Mapping::Access::kReadWrite));
  return PollingSlot(std::move(mapping), slot, cpus);
}

absl::StatusOr<PollingSlot> PollingSlot::CreateAlone(int cpus, Duration wake_cost) {
  MANTA_ASSIGN_OR_RETURN(std::unique_ptr<PollingPage> page, PollingPage::Create());
  MANTA_ASSIGN_OR_RETURN(const uint32_t slot, page->TakeSlot());
  page->SetWakeCost(wake_cost);
  return Open(page->fd(), slot, cpus);
}

bool PollingSlot::MayPoll() const { return SumAwake(*page(), cpus_) <= cpus_; }

Duration PollingSlot::poll_time_max() const {
  const uint64_t cost_ns = page()->wake_cost_ns.load(std::memory_order_relaxed);
  const Duration cost(static_cast<int64_t>(std::min<uint64_t>(cost_ns, kPollTimeMax.count())));
  return std::clamp(2 * (cost_ns == 0 ? kWakeCostUnmeasured : cost), kPollTimeMin, kPollTimeMax);
}

absl::StatusOr<std::unique_ptr<PollingPage>> PollingPage::Create() {
  std::unique_ptr<PollingPage> page(new PollingPage);
  MANTA_ASSIGN_OR_RETURN(page->fd_, base::CreateSealedMemfd("manta-polling", sizeof(PollingLayout)));
  MANTA_ASSIGN_OR_RETURN(page->mapping_,
                         base::Mapping::Map(page->fd_.get(), sizeof(PollingLayout), base::Mapping::Access::kReadWrite));
  return page;
}

absl::StatusOr<uint32_t> PollingPage::TakeSlot() {
  if (!free_.empty()) {
    // The lowest: MayPoll reads up to the highest one ever used.
    const uint32_t slot = *free_.begin();
    free_.erase(free_.begin());
    return slot;
  }
  if (slots_used_ == PollingLayout::kSlots) {
    return absl::ResourceExhaustedError("all polling slots of this node are taken");
  }
  page()->slots_used.store(++slots_used_, std::memory_order_relaxed);
  return slots_used_ - 1;
}

void PollingPage::ClearSlot(uint32_t slot) {
  page()->awake[slot].store(0, std::memory_order_relaxed);
  free_.insert(slot);
}

void PollingPage::SetWakeCost(Duration cost) {
  page()->wake_cost_ns.store(static_cast<uint64_t>(std::max<int64_t>(cost.count(), 1)), std::memory_order_relaxed);
}

uint32_t PollingPage::awake() const { return SumAwake(*page(), UINT32_MAX); }

Duration MeasureWakeCost() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof(allowed), &allowed);
  const int here = sched_getcpu();
  // The sleeper goes to another core, if there is one.
  int other = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE && other < 0; ++cpu) {
    if (cpu != here && CPU_ISSET(cpu, &allowed)) other = cpu;
  }
  base::UniqueFd bell(eventfd(0, EFD_CLOEXEC));
  if (!bell) return kWakeCostUnmeasured;
  const base::SystemClock clock;
  std::atomic<int64_t> woken_ns = 0;
  std::thread sleeper([&] {
    if (other >= 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(other, &one);
      sched_setaffinity(0, sizeof(one), &one);
    }
    for (int i = 0; i < kWakes; ++i) {
      uint64_t count;
      if (read(bell.get(), &count, sizeof(count)) != sizeof(count)) break;
      woken_ns.store(ToNanos(clock.Now()), std::memory_order_release);
    }
  });
  std::vector<Duration> costs;
  for (int i = 0; i < kWakes; ++i) {
    // Long enough for the sleeper to sleep, and for its core to idle.
    std::this_thread::sleep_for(std::chrono::microseconds(60));
    woken_ns.store(0, std::memory_order_relaxed);
    const Time rung = clock.Now();
    const uint64_t one = 1;
    if (write(bell.get(), &one, sizeof(one)) != sizeof(one)) break;
    int64_t woken;
    while ((woken = woken_ns.load(std::memory_order_acquire)) == 0) sched_yield();
    costs.push_back(TimeFromNanos(woken) - rung);
  }
  sleeper.join();
  std::sort(costs.begin(), costs.end());
  return costs.empty() ? kWakeCostUnmeasured : costs[costs.size() / 2];
}

}  // namespace manta::rpc
