// The flags of a program: --name=value, or --name for 1. --help lists them.
//
//   const Flags flags(argc, argv, "--rows=20000 --data=");   // what there is, with what it is if it is not given
//   if (flags.help()) return 0;
//   flags["--data"]; flags.Number("--rows", 1);
#ifndef MANTA_EXAMPLES_FLAGS_H_
#define MANTA_EXAMPLES_FLAGS_H_

#include <manta/manta.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>

class Flags {
 public:
  // InvalidArgumentError: a flag that is not among the defaults; it lists those that are.
  Flags(int argc, char** argv, const std::string& defaults) {
    std::istringstream words(defaults);
    for (std::string word; words >> word;) values_[NameOf(word)] = word.substr(word.find('=') + 1);
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i], name = NameOf(word);
      if (word == "--help") {
        help_ = true;
      } else if (!values_.contains(name)) {
        throw manta::InvalidArgumentError("unknown flag " + word + "; there are " + defaults);
      } else {
        values_[name] = name == word ? "1" : word.substr(name.size() + 1);
      }
    }
    if (help_) std::printf("Flags: %s\nand Manta's own: manta config lists them.\n", defaults.c_str());
  }

  bool help() const { return help_; }
  const std::string& operator[](const std::string& name) const { return values_.at(name); }
  bool Is(const std::string& name) const { return values_.at(name) == "1"; }
  // InvalidArgumentError: not a number from `min` to a billion.
  double Number(const std::string& name, double min) const {
    const std::string& text = values_.at(name);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (*end == 0 && !text.empty() && value >= min && value <= 1e9) return value;
    throw manta::InvalidArgumentError(name + "=" + text + " is no number, too small or too large");
  }

 private:
  static std::string NameOf(const std::string& word) { return word.substr(0, word.find('=')); }

  std::map<std::string, std::string> values_;
  bool help_ = false;
};

#endif  // MANTA_EXAMPLES_FLAGS_H_
