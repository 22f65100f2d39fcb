// Describe puts a message into one line for people who read a trace.
#ifndef MANTA_TESTS_SIM_DESCRIBE_H_
#define MANTA_TESTS_SIM_DESCRIBE_H_

#include <string>

#include "rpc/message.h"

namespace manta::sim {

std::string Describe(const rpc::Message& message);
std::string Describe(const rpc::Value& value);
std::string Describe(const rpc::ErrorInfo& error);

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_DESCRIBE_H_
