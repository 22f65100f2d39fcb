#include "tests/sim/describe.h"

namespace manta::sim {
namespace {

std::string Text(uint64_t number) { return std::to_string(number); }
std::string Text(const std::string& text) { return text; }
template <typename T>
requires requires(const T& t) { manta::ToString(t); }
std::string Text(const T& id) { return manta::ToString(id); }

}  // namespace

std::string Describe(const rpc::ErrorInfo& error) {
  if (!error) return error.message.empty() ? "" : " (" + error.message + ")";
  return " error=" + std::to_string(static_cast<int>(error.code)) + (error.may_have_run ? "?" : "") + " '" +
         error.message + "'";
}

std::string Describe(const rpc::Value& value) {
  std::string out;
  switch (value.kind) {
    case rpc::Value::Kind::kInline:
      out = "inline(" + std::to_string(value.bytes.size()) + ")";
      break;
    case rpc::Value::Kind::kStored:
      out = "stored(" + ToString(value.object) + "@n" + std::to_string(value.location.node) + ":" +
            std::to_string(value.location.segment) + "+" + std::to_string(value.location.offset) + "/" +
            std::to_string(value.location.size_bytes) + ")";
      break;
    case rpc::Value::Kind::kRef:
      out = "ref(" + ToString(value.object) + ")";
      break;
  }
  for (const rpc::NestedRef& ref : value.refs) out += "[" + ToString(ref.object) + "]";
  return out;
}

std::string Describe(const rpc::Message& message) {
  std::string out = rpc::MessageName(message);
  std::visit(
      [&out]<typename M>(const M& m) {
        if constexpr (requires { m.call; }) out += " call=" + Text(m.call);
        if constexpr (requires { m.attempt; }) out += " attempt=" + Text(m.attempt);
        if constexpr (requires { m.ticket; }) out += " ticket=" + Text(m.ticket);
        if constexpr (requires { m.object; }) out += " object=" + Text(m.object);
        if constexpr (requires { m.spec.actor; }) out += " actor=" + Text(m.spec.actor) + " name='" + m.spec.name + "'";
        if constexpr (requires { m.actor; }) out += " actor=" + Text(m.actor);
        if constexpr (requires { m.incarnation; }) out += " incarnation=" + Text(m.incarnation);
        if constexpr (requires { m.actor_incarnation; }) out += " incarnation=" + Text(m.actor_incarnation);
        if constexpr (requires { m.sequence; }) out += " seq=" + Text(m.sequence);
        if constexpr (requires { m.version; }) out += " version=" + Text(m.version);
        if constexpr (requires { m.request; }) out += " request=" + Text(m.request);
        if constexpr (requires { m.caller; }) out += " caller=" + Text(m.caller);
        if constexpr (requires { m.lease.node; }) out += " lease=" + Text(m.lease);
        if constexpr (requires { m.worker; }) out += " worker=" + Text(m.worker);
        if constexpr (requires { m.process; }) out += " process=" + Text(m.process);
        if constexpr (requires { m.by; }) out += " by=" + Text(m.by);
        if constexpr (requires { m.holder; }) out += " holder=" + Text(m.holder);
        if constexpr (requires { m.receiver; }) out += " receiver=" + Text(m.receiver);
        if constexpr (requires { m.kept_by; }) out += " kept_by=" + Text(m.kept_by);
        if constexpr (requires { m.borrow; }) out += " borrow=" + Text(m.borrow);
        if constexpr (requires { m.sealed_on; }) out += " sealed_on=" + Text(m.sealed_on);
        if constexpr (requires { m.asker; }) out += " asker=" + Text(m.asker);
        if constexpr (requires { m.watcher; }) out += " watcher=" + Text(m.watcher);
        if constexpr (requires { m.node; }) out += " node=" + Text(m.node);
        if constexpr (requires { m.job; }) out += " job=" + Text(m.job);
        if constexpr (requires { m.segment; }) out += " segment=" + Text(m.segment);
        if constexpr (requires { m.offset; }) out += " offset=" + Text(m.offset);
        if constexpr (requires { m.size_bytes; }) out += " size=" + Text(m.size_bytes);
        if constexpr (requires { m.pending; }) out += m.pending ? " pending" : "";
        if constexpr (requires { m.present; }) out += m.present ? " present" : " gone";
        if constexpr (requires { m.found; }) out += m.found ? " found" : " missing";
        if constexpr (requires { m.no_restart; }) out += m.no_restart ? " no_restart" : "";
        if constexpr (requires { m.graceful; }) out += m.graceful ? " graceful" : "";
        if constexpr (requires { m.intended; }) out += m.intended ? " intended" : "";
        if constexpr (requires { m.blocked; }) out += m.blocked ? " blocked" : " goes on";
        if constexpr (requires { m.reason; }) out += " '" + Text(m.reason) + "'";
        if constexpr (std::is_same_v<M, rpc::CallReply>) out += " outcome=" + Text(static_cast<uint64_t>(m.outcome));
        if constexpr (std::is_same_v<M, rpc::ActorUpdate>) out += " state=" + Text(static_cast<uint64_t>(m.state));
        if constexpr (requires { m.location.node; }) {
          out += " @n" + Text(m.location.node) + ":" + Text(m.location.segment) + "+" + Text(m.location.offset) + "/" +
                 Text(m.location.size_bytes);
        }
        if constexpr (requires { m.value.kind; }) out += " " + Describe(m.value);
        if constexpr (requires { m.args; }) {
          for (const rpc::Value& arg : m.args) out += " " + Describe(arg);
        }
        if constexpr (requires { m.returns; }) {
          for (const rpc::Value& value : m.returns) out += " " + Describe(value);
        }
        if constexpr (requires { m.kept; }) {
          if (!m.kept.empty()) {
            out += " kept";
            for (const uint32_t index : m.kept) out += "," + Text(index);
          }
        }
        if constexpr (requires { m.refs; }) {
          for (const rpc::NestedRef& ref : m.refs) out += "[" + Text(ref.object) + "]";
        }
        if constexpr (requires { m.error.code; }) out += Describe(m.error);
      },
      message);
  return out;
}

}  // namespace manta::sim
