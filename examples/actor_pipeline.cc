// A pipeline of actors: each stage calls the next with the ref of its own result, and nobody waits for anybody but at
// the end.
//
// Prints:
//   10 items through 3 stages: 8 10 12 14 16 18 20 22 24 26
#include <manta/manta.h>

#include <iostream>
#include <vector>

class Stage {
 public:
  Stage(int factor, int offset) : factor_(factor), offset_(offset) {}
  int Apply(int item) const { return item * factor_ + offset_; }

 private:
  int factor_;
  int offset_;
};

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  std::vector<manta::ActorHandle<Stage>> stages;
  stages.push_back(manta::Actor<Stage>().NumCpus(0).Remote(1, 3));
  stages.push_back(manta::Actor<Stage>().NumCpus(0).Remote(2, 0));
  stages.push_back(manta::Actor<Stage>().NumCpus(0).Remote(1, 2));

  std::vector<manta::ObjectRef<int>> results;
  for (int item = 0; item < 10; ++item) {
    auto result = stages.front().Call<&Stage::Apply>().Remote(item);
    for (size_t stage = 1; stage < stages.size(); ++stage) result = stages[stage].Call<&Stage::Apply>().Remote(result);
    results.push_back(std::move(result));
  }

  std::cout << "10 items through 3 stages:";
  for (const int result : manta::Get(results)) std::cout << " " << result;
  std::cout << "\n";
}
