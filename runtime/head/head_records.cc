#include "runtime/head/head_records.h"

#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/status.h"
#include "rpc/codec.h"

namespace manta::runtime::head_records {
namespace {

absl::Status Damaged(std::string_view what) {
  return base::Error(absl::StatusCode::kDataLoss, std::string("stored record is damaged: ") + std::string(what));
}

std::string Padded(uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%020llu", static_cast<unsigned long long>(number));
  return text;
}

// "type capnp_bytes size\n" and the body.
void AppendMessage(const rpc::Message& message, std::string* out) {
  rpc::FrameBuffer frame;
  rpc::Encode(message, &frame);
  *out += std::to_string(frame.type()) + " " + std::to_string(frame.capnp_bytes()) + " " +
          std::to_string(frame.size()) + "\n";
  out->append(frame.body());
}

// Takes a line of `count` numbers off the front.
absl::StatusOr<std::vector<uint64_t>> TakeNumbers(std::string_view* value, size_t count) {
  const size_t end = value->find('\n');
  if (end == std::string_view::npos) return Damaged("no end of line");
  const char* at = value->data();
  const char* const line_end = at + end;
  std::vector<uint64_t> numbers;
  while (at != line_end) {
    uint64_t number = 0;
    const auto [next, error] = std::from_chars(at, line_end, number);
    if (error != std::errc()) return Damaged("not a number");
    numbers.push_back(number);
    at = next;
    if (at != line_end && *at++ != ' ') return Damaged("not a number");
  }
  if (numbers.size() != count) return Damaged("wrong count of numbers");
  value->remove_prefix(end + 1);
  return numbers;
}

template <typename T>
absl::StatusOr<T> TakeMessage(std::string_view* value) {
  MANTA_ASSIGN_OR_RETURN(const std::vector<uint64_t> numbers, TakeNumbers(value, 3));
  if (numbers[0] > UINT16_MAX || numbers[2] > value->size() || numbers[1] > numbers[2]) return Damaged("wrong size");
  const auto aligned = std::make_unique<uint64_t[]>(numbers[2] / 8 + 1);
  std::memcpy(aligned.get(), value->data(), numbers[2]);
  value->remove_prefix(numbers[2]);
  MANTA_ASSIGN_OR_RETURN(rpc::Message message,
                         rpc::Decode(static_cast<uint16_t>(numbers[0]), aligned.get(), numbers[2], numbers[1]));
  if (T* body = std::get_if<T>(&message)) return std::move(*body);
  return Damaged("another message than expected");
}

}  // namespace

std::string NodeKey(NodeId node) { return "node/" + Padded(node); }
std::string JobKey(JobId job) { return "job/" + Padded(job); }
std::string LingeringJobKey(JobId job) { return "lingering_job/" + Padded(job); }
std::string GoneNodeKey(NodeId node) { return "gone_node/" + Padded(node); }
std::string GoneJobKey(JobId job) { return "gone_job/" + Padded(job); }
std::string ActorKey(ActorId actor) {
  return "actor/" + Padded(actor.creator.node) + "." + Padded(actor.creator.number) + "." + Padded(actor.number);
}

absl::StatusOr<uint64_t> NumberOf(std::string_view key) {
  const size_t slash = key.rfind('/');
  if (slash == std::string_view::npos) return Damaged(key);
  return UnpackNumber(key.substr(slash + 1));
}

std::string PackNumber(uint64_t number) { return std::to_string(number); }

absl::StatusOr<uint64_t> UnpackNumber(std::string_view value) {
  uint64_t number = 0;
  const char* const end = value.data() + value.size();
  const auto [next, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc() || next != end) return Damaged(value);
  return number;
}

std::string PackNode(const rpc::NodeInfo& info) {
  std::string out;
  AppendMessage(rpc::NodeReport{info}, &out);
  return out;
}

absl::StatusOr<rpc::NodeInfo> UnpackNode(std::string_view value) {
  MANTA_ASSIGN_OR_RETURN(rpc::NodeReport report, TakeMessage<rpc::NodeReport>(&value));
  return std::move(report.info);
}

std::string PackJob(const JobTable::Job& job) {
  std::string out;
  AppendMessage(rpc::JobRegister{.node = job.driver.node, .driver = job.driver, .program = job.program}, &out);
  return out;
}

absl::StatusOr<JobTable::Job> UnpackJob(std::string_view value) {
  MANTA_ASSIGN_OR_RETURN(rpc::JobRegister job, TakeMessage<rpc::JobRegister>(&value));
  return JobTable::Job{job.driver, std::move(job.program), false, {}};
}

std::string PackActor(const ActorDirectory::Record& record) {
  std::string out =
      std::to_string(record.restarts) + " " + std::to_string(record.node) + " " + (record.ending ? "1" : "0") + "\n";
  AppendMessage(rpc::ActorStart{record.spec, record.incarnation}, &out);
  rpc::ActorUpdate state;
  state.version = record.version;
  state.state = record.state;
  state.worker = record.worker;
  state.address = record.address;
  state.error = record.error;
  state.kept = record.kept;
  AppendMessage(state, &out);
  return out;
}

absl::StatusOr<ActorDirectory::Record> UnpackActor(std::string_view value) {
  ActorDirectory::Record record;
  MANTA_ASSIGN_OR_RETURN(const std::vector<uint64_t> numbers, TakeNumbers(&value, 3));
  record.restarts = static_cast<int64_t>(numbers[0]);
  record.node = numbers[1];
  record.ending = numbers[2] != 0;
  MANTA_ASSIGN_OR_RETURN(rpc::ActorStart start, TakeMessage<rpc::ActorStart>(&value));
  record.spec = std::move(start.spec);
  record.incarnation = start.incarnation;
  MANTA_ASSIGN_OR_RETURN(rpc::ActorUpdate state, TakeMessage<rpc::ActorUpdate>(&value));
  record.version = state.version;
  record.state = state.state;
  record.worker = state.worker;
  record.address = std::move(state.address);
  record.error = std::move(state.error);
  record.kept = std::move(state.kept);
  return record;
}

}  // namespace manta::runtime::head_records
