#include "runtime/node/process_table.h"

#include <algorithm>
#include <utility>

namespace manta::runtime::node {
namespace {

rpc::JobRegister RegistrationOf(uint64_t request, const ProcessTable::Applicant& applicant) {
  rpc::JobRegister message;
  message.request = request;
  message.node = applicant.id.node;
  message.driver = applicant.id;
  message.program = applicant.program;
  return message;
}

}  // namespace

rpc::JobRegister ProcessTable::Apply(NodeId node, uint64_t connection, const rpc::ProcessHello& hello) {
  const uint64_t request = ++last_request_;
  const Applicant& applicant = applicants_[request] =
      Applicant{connection, NextId(node), hello.address, hello.program, hello.pid};
  return RegistrationOf(request, applicant);
}

std::optional<ProcessTable::Applicant> ProcessTable::Admit(const rpc::JobAccepted& accepted) {
  const auto it = applicants_.find(accepted.request);
  if (it == applicants_.end() || it->second.id != accepted.driver) return std::nullopt;
  std::optional<Applicant> applicant(std::move(it->second));
  applicants_.erase(it);
  return applicant;
}

std::vector<rpc::JobRegister> ProcessTable::waiting() const {
  std::vector<rpc::JobRegister> messages;
  for (const auto& [request, applicant] : applicants_) messages.push_back(RegistrationOf(request, applicant));
  return messages;
}

void ProcessTable::Add(LocalProcess process) {
  const ProcessId id = process.id;
  processes_[id] = std::move(process);
}

const LocalProcess* ProcessTable::Find(ProcessId id) const {
  const auto it = processes_.find(id);
  return it == processes_.end() ? nullptr : &it->second;
}

void ProcessTable::Remove(ProcessId id) { processes_.erase(id); }

std::set<ProcessId> ProcessTable::ids() const {
  std::set<ProcessId> ids;
  for (const auto& [id, process] : processes_) ids.insert(id);
  return ids;
}

bool ProcessTable::HasDriverOf(JobId job) const {
  return std::any_of(processes_.begin(), processes_.end(), [job](const auto& item) {
    return item.second.job == job && item.second.kind == rpc::ProcessKind::kDriver;
  });
}

}  // namespace manta::runtime::node
