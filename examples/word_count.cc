// Word count by map and reduce: tasks count the words of a piece of text each, actors add up the counts of the words
// that fall to them.
//
// Prints:
//   the 4
//   sea 3
//   manta 2
#include <manta/manta.h>

#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using Counts = std::map<std::string, int>;

constexpr int kReducers = 2;

// One map of counts for each reducer.
std::vector<Counts> CountWords(const std::string& text) {
  std::vector<Counts> counts(kReducers);
  std::istringstream words(text);
  for (std::string word; words >> word;) ++counts[std::hash<std::string>()(word) % kReducers][word];
  return counts;
}

class Reducer {
 public:
  explicit Reducer(int part) : part_(part) {}
  void Add(const std::vector<Counts>& counts) {
    for (const auto& [word, count] : counts[part_]) total_[word] += count;
  }
  Counts Total() const { return total_; }

 private:
  int part_;
  Counts total_;
};

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  const std::vector<std::string> pieces = {"the manta glides", "the sea the sea", "over the manta sea"};

  std::vector<manta::ActorHandle<Reducer>> reducers;
  for (int part = 0; part < kReducers; ++part) reducers.push_back(manta::Actor<Reducer>().NumCpus(0).Remote(part));

  for (const std::string& piece : pieces) {
    manta::ObjectRef<std::vector<Counts>> counts = manta::Task<&CountWords>().Remote(piece);
    // The counts go from the task to the reducers; the driver never has them.
    for (auto& reducer : reducers) reducer.Call<&Reducer::Add>().Remote(counts);
  }

  std::multimap<int, std::string, std::greater<>> by_count;
  for (auto& reducer : reducers) {
    for (const auto& [word, count] : manta::Get(reducer.Call<&Reducer::Total>().Remote()))
      by_count.emplace(count, word);
  }
  int lines = 0;
  for (const auto& [count, word] : by_count) {
    if (lines++ == 3) break;
    std::cout << word << " " << count << "\n";
  }
}
