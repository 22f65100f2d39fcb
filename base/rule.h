// MANTA_RULE(name) marks one rule that correctness hangs on: a fence, a de-duplication, a ticket rule.
//
// Problem:    a simulator that passes proves nothing unless it fails when a rule is taken out.
//   if (MANTA_RULE("lease_fence") && request.lease < current_lease_) return Refuse();
// In production the macro is the constant `true`. In a mutant build (MANTA_MUTANTS defined: link the *_mutants
// libraries) it is false for the one rule that SetActiveMutant named, and tests expect a violation to be found then.
// Threads:    set the mutant before threads start; immutable after.
#ifndef MANTA_BASE_RULE_H_
#define MANTA_BASE_RULE_H_

#ifdef MANTA_MUTANTS

#include <string>
#include <string_view>
#include <vector>

namespace manta::base {

// Takes the rule out; "" puts all of them back.
void SetActiveMutant(std::string name);
// Whether `name` is the rule that is out. Remembers that it was asked.
bool ActiveMutant(std::string_view name);
// The rules asked for since the last SetActiveMutant, sorted: a mutant that was never asked for proves nothing.
std::vector<std::string> AskedRules();

}  // namespace manta::base

#define MANTA_RULE(name) (!::manta::base::ActiveMutant(name))

#else

#define MANTA_RULE(name) true

#endif

#endif  // MANTA_BASE_RULE_H_
