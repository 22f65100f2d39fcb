// Two functions of one name, each internal to its file: Init must refuse the program, and name both files.
#include <cstring>
#include <iostream>

#include "manta/manta.h"

int CallTheOther();

static int Answer() { return 1; }

int main(int argc, char** argv) {
  try {
    auto runtime = manta::Init(argc, argv);
    return manta::Get(manta::Task<&Answer>().Remote()) + CallTheOther();
  } catch (const manta::InvalidArgumentError& error) {
    std::cout << error.what() << "\n";
    return std::strstr(error.what(), "one.cc") != nullptr && std::strstr(error.what(), "two.cc") != nullptr ? 0 : 1;
  }
}
