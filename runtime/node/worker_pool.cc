#include "runtime/node/worker_pool.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace manta::runtime::node {

uint32_t WorkerPool::ToStart(JobId job, uint32_t task_demand, uint32_t actor_demand) const {
  const uint32_t tasks = task_workers();
  const uint32_t room = options_.task_workers_max > tasks ? options_.task_workers_max - tasks : 0;
  const uint32_t coming = starting(job);
  // Those that start already are for whoever comes first; workers for actors leave the tasks' count when they are
  // taken.
  const uint32_t wanted = std::min(task_demand, room + coming) + actor_demand;
  return wanted > coming ? wanted - coming : 0;
}

bool WorkerPool::AtCap(JobId job, ProcessId* victim) const {
  *victim = {};
  if (task_workers() < options_.task_workers_max) return false;
  Time longest = kInfiniteFuture;
  for (const auto& [other, crew] : crews_) {
    if (other == job || crew.idle.empty() || crew.idle.begin()->first >= longest) continue;
    longest = crew.idle.begin()->first;
    *victim = crew.idle.begin()->second;
  }
  return true;
}

void WorkerPool::Started(ProcessId id, JobId job, Time now) {
  Worker& worker = workers_[id];
  worker.id = id;
  worker.job = job;
  Enter(&worker, State::kStarting, now);
}

bool WorkerPool::Connected(ProcessId id, Time now) {
  const auto it = workers_.find(id);
  if (it == workers_.end() || it->second.state != State::kStarting) return false;
  Worker& worker = it->second;
  worker.connected = true;
  failures_.erase(worker.job);
  Leave(&worker);
  Enter(&worker, State::kIdle, now);
  return true;
}

uint32_t WorkerPool::StartFailed(ProcessId id) {
  const auto it = workers_.find(id);
  if (it == workers_.end()) return 0;
  return ++failures_[it->second.job];
}

void WorkerPool::Remove(ProcessId id) {
  const auto it = workers_.find(id);
  if (it == workers_.end()) return;
  Leave(&it->second);
  workers_.erase(it);
}

std::optional<ProcessId> WorkerPool::Take(JobId job, State as, Time now) {
  const auto crew = crews_.find(job);
  if (crew == crews_.end() || crew->second.idle.empty()) return std::nullopt;
  const ProcessId id = std::prev(crew->second.idle.end())->second;
  Worker& worker = workers_.at(id);
  Leave(&worker);
  Enter(&worker, as, now);
  return id;
}

void WorkerPool::Release(ProcessId id, Time now) {
  const auto it = workers_.find(id);
  if (it == workers_.end() || it->second.state == State::kStopping) return;
  Leave(&it->second);
  Enter(&it->second, State::kIdle, now);
}

void WorkerPool::Stop(ProcessId id, Time now, Time kill_at) {
  const auto it = workers_.find(id);
  if (it == workers_.end()) return;
  Worker& worker = it->second;
  if (worker.state == State::kStopping && worker.kill_at <= kill_at) return;
  Leave(&worker);
  worker.kill_at = kill_at;
  Enter(&worker, State::kStopping, now);
}

void WorkerPool::SetLastWord(ProcessId id, std::string why) {
  const auto it = workers_.find(id);
  if (it != workers_.end()) it->second.last_word = std::move(why);
}

const WorkerPool::Worker* WorkerPool::Find(ProcessId id) const {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

std::vector<ProcessId> WorkerPool::OfJob(JobId job) const {
  std::vector<ProcessId> ids;
  for (const auto& [id, worker] : workers_) {
    if (worker.job == job) ids.push_back(id);
  }
  return ids;
}

bool WorkerPool::HasJob(JobId job) const {
  return std::any_of(workers_.begin(), workers_.end(), [job](const auto& item) { return item.second.job == job; });
}

uint32_t WorkerPool::idle(JobId job) const {
  const auto crew = crews_.find(job);
  return crew == crews_.end() ? 0 : static_cast<uint32_t>(crew->second.idle.size());
}

uint32_t WorkerPool::starting(JobId job) const {
  const auto crew = crews_.find(job);
  return crew == crews_.end() ? 0 : crew->second.starting;
}

uint32_t WorkerPool::idle() const {
  uint32_t count = 0;
  for (const auto& [job, crew] : crews_) count += static_cast<uint32_t>(crew.idle.size());
  return count;
}

std::vector<ProcessId> WorkerPool::TooSlow(Time now) const {
  std::vector<ProcessId> ids;
  for (const auto& [since, id] : starting_) {
    if (SaturatingAdd(since, options_.start_timeout) > now) break;
    ids.push_back(id);
  }
  return ids;
}

std::vector<ProcessId> WorkerPool::TooIdle(Time now) const {
  std::vector<ProcessId> ids;
  for (const auto& [job, crew] : crews_) {
    size_t left = crew.idle.size();
    for (const auto& [since, id] : crew.idle) {
      if (left <= options_.workers_kept || SaturatingAdd(since, options_.worker_idle) > now) break;
      ids.push_back(id);
      --left;
    }
  }
  return ids;
}

std::vector<ProcessId> WorkerPool::ToKill(Time now) {
  std::vector<ProcessId> ids;
  while (!stopping_.empty() && stopping_.begin()->first <= now) {
    const ProcessId id = stopping_.begin()->second;
    Worker& worker = workers_.at(id);
    Leave(&worker);
    worker.kill_at = kInfiniteFuture;
    Enter(&worker, State::kStopping, now);
    ids.push_back(id);
  }
  return ids;
}

Time WorkerPool::next_deadline() const {
  Time next = kInfiniteFuture;
  if (!starting_.empty()) next = std::min(next, SaturatingAdd(starting_.begin()->first, options_.start_timeout));
  if (!stopping_.empty()) next = std::min(next, stopping_.begin()->first);
  for (const auto& [job, crew] : crews_) {
    if (crew.idle.size() > options_.workers_kept) {
      next = std::min(next, SaturatingAdd(crew.idle.begin()->first, options_.worker_idle));
    }
  }
  return next;
}

void WorkerPool::Enter(Worker* worker, State state, Time now) {
  worker->state = state;
  worker->since = now;
  if (state == State::kStarting) {
    ++crews_[worker->job].starting;
    starting_.insert({now, worker->id});
  } else if (state == State::kIdle) {
    crews_[worker->job].idle.insert({now, worker->id});
  } else if (state == State::kActor) {
    ++actor_workers_;
  } else if (state == State::kStopping) {
    stopping_.insert({worker->kill_at, worker->id});
  }
}

void WorkerPool::Leave(Worker* worker) {
  if (worker->state == State::kStarting) {
    --crews_[worker->job].starting;
    starting_.erase({worker->since, worker->id});
  } else if (worker->state == State::kIdle) {
    crews_[worker->job].idle.erase({worker->since, worker->id});
  } else if (worker->state == State::kActor) {
    --actor_workers_;
  } else if (worker->state == State::kStopping) {
    stopping_.erase({worker->kill_at, worker->id});
  }
  const auto crew = crews_.find(worker->job);
  if (crew != crews_.end() && crew->second.starting == 0 && crew->second.idle.empty()) crews_.erase(crew);
}

}  // namespace manta::runtime::node
