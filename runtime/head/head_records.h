// What the head writes into its KvStore, and how it is read back.
//
//   next_node            the next node number             next_job             the next job number
//   node/<n>             a node that lives (NodeInfo)     gone_node/<n>        why it died (the last few)
//   job/<j>              a job that runs                  gone_job/<j>         (the last few)
//   actor/<n>.<p>.<a>    a registered actor (ActorDirectory::Record)
//
// Values are messages as rpc/codec.h encodes them, behind a line of numbers that no message has.
// Errors:     a value that cannot be read is kDataLoss, naming the key: the head says so and goes on without it.
// Threads:    functions.
#ifndef MANTA_RUNTIME_HEAD_HEAD_RECORDS_H_
#define MANTA_RUNTIME_HEAD_HEAD_RECORDS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "rpc/message.h"
#include "runtime/actor_directory.h"
#include "runtime/head/job_table.h"

namespace manta::runtime::head_records {

inline constexpr char kNextNode[] = "next_node";
inline constexpr char kNextJob[] = "next_job";

// Keys sort as their numbers do.
std::string NodeKey(NodeId node);
std::string JobKey(JobId job);
std::string LingeringJobKey(JobId job);
std::string GoneNodeKey(NodeId node);
std::string GoneJobKey(JobId job);
std::string ActorKey(ActorId actor);
// The number at the end of a node's or job's key.
absl::StatusOr<uint64_t> NumberOf(std::string_view key);

std::string PackNumber(uint64_t number);
absl::StatusOr<uint64_t> UnpackNumber(std::string_view value);
std::string PackNode(const rpc::NodeInfo& info);
absl::StatusOr<rpc::NodeInfo> UnpackNode(std::string_view value);
std::string PackJob(const JobTable::Job& job);
absl::StatusOr<JobTable::Job> UnpackJob(std::string_view value);
std::string PackActor(const ActorDirectory::Record& record);
absl::StatusOr<ActorDirectory::Record> UnpackActor(std::string_view value);

}  // namespace manta::runtime::head_records

#endif  // MANTA_RUNTIME_HEAD_HEAD_RECORDS_H_
