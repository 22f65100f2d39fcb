#include "base/resources.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace manta::base {

absl::StatusOr<Fixed> Fixed::FromDouble(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%g", value);
  if (!std::isfinite(value)) return absl::InvalidArgumentError(std::string(text) + " is not a finite amount");
  if (value < 0) return absl::InvalidArgumentError(std::string(text) + " is negative");
  if (value > static_cast<double>(kUnitsMax / kUnitsPerOne)) {
    return absl::InvalidArgumentError(std::string(text) + " is above 2^40");
  }
  const Fixed fixed = FromUnits(std::llround(value * kUnitsPerOne));
  if (value > 0 && fixed.units() == 0) {
    return absl::InvalidArgumentError(std::string(text) + " is finer than 1/10000");
  }
  return fixed;
}

std::string Fixed::ToString() const {
  const uint64_t magnitude = units_ < 0 ? 0 - static_cast<uint64_t>(units_) : static_cast<uint64_t>(units_);
  std::string text = (units_ < 0 ? "-" : "") + std::to_string(magnitude / kUnitsPerOne);
  if (const uint64_t rest = magnitude % kUnitsPerOne; rest != 0) {
    char fraction[8];
    std::snprintf(fraction, sizeof(fraction), ".%04d", static_cast<int>(rest));
    text += fraction;
    while (text.back() == '0') text.pop_back();
  }
  return text;
}

absl::StatusOr<ResourceSet> ResourceSet::FromJson(std::string_view text) {
  ResourceSet set;
  std::string error;
  // A SAX handler rather than a document: a document forgets that a name came twice.
  struct Reader : nlohmann::json_sax<nlohmann::json> {
    ResourceSet* set;
    std::string* error;
    std::string name;
    bool in_object = false;

    bool Fail(std::string message) {
      *error = std::move(message);
      return false;
    }
    bool NotANumber() {
      if (!in_object) return Fail("it is not an object such as {\"x\": 1}");
      return Fail("'" + name + "' is not a number");
    }
    bool Amount(double value) {
      if (!in_object) return NotANumber();
      const absl::StatusOr<Fixed> amount = Fixed::FromDouble(value);
      if (!amount.ok()) return Fail("'" + name + "': " + Message(amount.status()));
      set->amounts_[name] = *amount;
      return true;
    }
    bool null() override { return NotANumber(); }
    bool boolean(bool) override { return NotANumber(); }
    bool number_integer(number_integer_t value) override { return Amount(static_cast<double>(value)); }
    bool number_unsigned(number_unsigned_t value) override { return Amount(static_cast<double>(value)); }
    bool number_float(number_float_t value, const string_t&) override { return Amount(value); }
    bool string(string_t&) override { return NotANumber(); }
    bool binary(binary_t&) override { return NotANumber(); }
    bool start_object(size_t) override {
      if (in_object) return NotANumber();
      in_object = true;
      return true;
    }
    bool key(string_t& key) override {
      name = key;
      if (key.empty() || key.size() > kNameBytesMax) return Fail("a name of " + std::to_string(key.size()) + " bytes");
      if (set->amounts_.contains(key)) return Fail("'" + key + "' stands there twice");
      if (set->amounts_.size() == kNamesMax) return Fail("more than " + std::to_string(kNamesMax) + " names");
      return true;
    }
    bool end_object() override { return true; }
    bool start_array(size_t) override { return NotANumber(); }
    bool end_array() override { return true; }
    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
      return Fail("it is not JSON at byte " + std::to_string(position));
    }
  } reader;
  reader.set = &set;
  reader.error = &error;
  if (!nlohmann::json::sax_parse(text, &reader)) return absl::InvalidArgumentError("resources: " + error);
  std::erase_if(set.amounts_, [](const auto& entry) { return entry.second == Fixed(); });
  return set;
}

std::string ResourceSet::ToJson() const {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, amount] : amounts_) {
    if (amount.units() % Fixed::kUnitsPerOne == 0) {
      object[name] = amount.units() / Fixed::kUnitsPerOne;
    } else {
      object[name] = amount.ToDouble();
    }
  }
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ResourceSet::ResourceSet(std::initializer_list<std::pair<const std::string, Fixed>> amounts) {
  for (const auto& [name, amount] : amounts) Set(name, amount);
}

Fixed ResourceSet::Get(std::string_view name) const {
  const auto found = amounts_.find(name);
  return found == amounts_.end() ? Fixed() : found->second;
}

void ResourceSet::Set(std::string_view name, Fixed amount) {
  const auto found = amounts_.find(name);
  if (amount == Fixed()) {
    if (found != amounts_.end()) amounts_.erase(found);
  } else if (found != amounts_.end()) {
    found->second = amount;
  } else {
    amounts_.emplace(name, amount);
  }
}

bool ResourceSet::Fits(const ResourceSet& demand) const {
  for (const auto& [name, amount] : demand.amounts_) {
    if (amount > Fixed() && Get(name) < amount) return false;
  }
  return true;
}

void ResourceSet::Subtract(const ResourceSet& demand) {
  MANTA_DCHECK(Fits(demand)) << demand.ToString() << " from " << ToString();
  SubtractAllowNegative(demand);
}

void ResourceSet::SubtractAllowNegative(const ResourceSet& demand) {
  for (const auto& [name, amount] : demand.amounts_) Set(name, Get(name) - amount);
}

void ResourceSet::Add(const ResourceSet& other) {
  for (const auto& [name, amount] : other.amounts_) Set(name, Get(name) + amount);
}

bool ResourceSet::HasNegative() const {
  for (const auto& [name, amount] : amounts_) {
    if (amount < Fixed()) return true;
  }
  return false;
}

std::string ResourceSet::ToString() const {
  std::string text = "{";
  for (const auto& [name, amount] : amounts_) {
    if (text.size() > 1) text += ", ";
    text += name + ": " + amount.ToString();
  }
  return text + "}";
}

}  // namespace manta::base
