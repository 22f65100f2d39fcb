// Objects: Put, Get, Wait, tensors and the store.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <numeric>
#include <set>
#include <unordered_set>

#include "api/api_test.h"

namespace manta::api_test {
namespace {

int Slow(ActorHandle<Gate> gate) { return PassGate(gate, 5); }
int Broken() { throw std::runtime_error("broken"); }

TEST(Put, GivesTheValueBack) {
  EXPECT_EQ(Get(Put(7)), 7);
  EXPECT_EQ(Get(Put("literal")), "literal");
  EXPECT_EQ(Get(Put(std::vector<std::string>{"a", "b"})), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Get(Put(std::vector<double>())), std::vector<double>());
  std::vector<int64_t> big(1'000'000);
  std::iota(big.begin(), big.end(), 0);
  EXPECT_EQ(Get(Put(big)), big);
}

TEST(Get, TakesManyInOrder) {
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < 100; ++i) refs.push_back(i % 2 == 0 ? Put(i) : Task<[](int x) { return x; }>().Remote(i));
  refs.push_back(refs[0]);
  const std::vector<int> values = Get(refs);
  ASSERT_EQ(values.size(), 101u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], i);
  EXPECT_EQ(Get(std::vector<ObjectRef<int>>()), std::vector<int>());
  EXPECT_THROW(Get(std::vector<ObjectRef<int>>{Put(1), Task<&Broken>().Remote()}), TaskError);
}

TEST(Get, EndsAtItsTimeoutAndTheCallGoesOn) {
  auto gate = Actor<Gate>().Remote();
  ObjectRef<int> slow = Task<&Slow>().Remote(gate);
  EXPECT_THROW(Get(slow, 10ms), TimeoutError);
  EXPECT_THROW(Get(slow, 0s), TimeoutError);
  EXPECT_THROW(Get(std::vector<ObjectRef<int>>{Put(1), slow}, 10ms), TimeoutError);
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(Get(slow, std::chrono::hours::max()), 5);
  EXPECT_EQ(Get(slow, -1s), 5);
}

TEST(TryGet, GivesTheErrorInsteadOfThrowing) {
  EXPECT_EQ(TryGet(Put(3)).value(), 3);
  Result<int> broken = TryGet(Task<&Broken>().Remote());
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().code(), ErrorCode::kTaskError);
  ASSERT_NE(dynamic_cast<const TaskError*>(&broken.error()), nullptr);
  EXPECT_EQ(dynamic_cast<const TaskError&>(broken.error()).type(), "std::runtime_error");
  EXPECT_EQ(broken.value_or(8), 8);
  EXPECT_THROW(broken.value(), TaskError);

  auto gate = Actor<Gate>().Remote();
  ObjectRef<int> slow = Task<&Slow>().Remote(gate);
  EXPECT_EQ(TryGet(slow, 10ms).error().code(), ErrorCode::kTimeout);
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(*TryGet(slow), 5);
}

TEST(Wait, SplitsReadyFromPending) {
  auto gate = Actor<Gate>().Remote();
  const std::vector<ObjectRef<int>> refs = {Task<&Slow>().Remote(gate), Put(1), Put(2), Task<&Broken>().Remote()};
  {
    auto [ready, pending] = Wait(refs, 3, kLong);  // what failed is ready too
    EXPECT_THAT(ready, ElementsAre(refs[1], refs[2], refs[3]));
    EXPECT_THAT(pending, ElementsAre(refs[0]));
  }
  {
    auto [ready, pending] = Wait(refs, 2);  // no more than asked for
    EXPECT_THAT(ready, ElementsAre(refs[1], refs[2]));
    EXPECT_THAT(pending, ElementsAre(refs[0], refs[3]));
  }
  {
    auto [ready, pending] = Wait(refs, 4, 10ms);
    EXPECT_THAT(ready, ElementsAre(refs[1], refs[2], refs[3]));
  }
  EXPECT_THAT(Wait(refs, 0).pending, SizeIs(4));
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_THAT(Wait(refs, 4).ready, SizeIs(4));
  EXPECT_THROW(Wait(refs, 5), InvalidArgumentError);
  EXPECT_THROW(Wait(std::vector<ObjectRef<int>>(1)), InvalidArgumentError);
}

TEST(Wait, TakesResultsAsTheyCome) {
  std::vector<ObjectRef<int>> pending;
  for (int i = 0; i < 20; ++i) pending.push_back(Task<[](int x) { return x; }>().Remote(i));
  std::set<int> seen;
  while (!pending.empty()) {
    auto [ready, rest] = Wait(pending);
    for (int value : Get(ready)) seen.insert(value);
    pending = std::move(rest);
  }
  EXPECT_EQ(seen.size(), 20u);
}

TEST(ObjectRef, IsAValue) {
  ObjectRef<int> empty;
  EXPECT_FALSE(empty);
  EXPECT_EQ(empty, ObjectRef<int>());
  EXPECT_EQ(empty.ToString(), "none");
  EXPECT_THROW(Get(empty), InvalidArgumentError);
  EXPECT_THROW(Task<[](int x) { return x; }>().Remote(empty), InvalidArgumentError);
  EXPECT_EQ(Get(Task<[](ObjectRef<int> ref) { return !ref; }>().Remote(empty)), true);  // nested, it may be empty

  ObjectRef<int> a = Put(1);
  ObjectRef<int> b = a;
  EXPECT_EQ(a, b);
  EXPECT_EQ((std::unordered_set<ObjectRef<int>>{a, b, Put(1)}.size()), 2u);
  ObjectRef<int> c = std::move(a);
  EXPECT_FALSE(a);  // NOLINT: moved from is empty
  a = c;
  const ObjectRef<int>& same = a;
  a = same;
  EXPECT_EQ(Get(a), 1);
}

// ---------------------------------------------------------------- tensors

constexpr int64_t kRows = 64;
constexpr int64_t kColumns = 1024;

Tensor Ramp() {
  Tensor tensor = Create<float>({kRows, kColumns});
  float next = 0;
  for (float& value : tensor.mutable_values<float>()) value = next++;
  return tensor;
}
bool IsRamp(const Tensor& tensor, float first = 0) {
  for (float value : tensor.values<float>()) {
    if (value != first++) return false;
  }
  return true;
}
bool IsRampInStore(Tensor tensor) { return tensor.in_store() && IsRamp(tensor); }
Tensor MakeRamp() { return Ramp(); }

TEST(Tensor, IsReadInPlace) {
  ObjectRef<Tensor> ref = Put(Tensor::From(std::vector<float>(100'000, 1.5f)));
  const Tensor first = Get(ref);
  const Tensor second = Get(ref);
  EXPECT_TRUE(first.in_store());
  EXPECT_EQ(first.raw_data(), second.raw_data());  // the same memory twice
  EXPECT_EQ(first.values<float>()[99'999], 1.5f);
  EXPECT_EQ(first.shape(), Shape({100'000}));
}

TEST(Tensor, CreatedOneIsPutWithoutACopy) {
  Tensor tensor = Ramp();
  EXPECT_TRUE(tensor.in_store());
  ObjectRef<Tensor> ref = Put(tensor);
  EXPECT_EQ(ref, Put(tensor));  // the object is the tensor's memory
  EXPECT_TRUE(IsRamp(Get(ref)));
  EXPECT_TRUE(Get(Task<&IsRampInStore>().Remote(ref)));
  tensor.mutable_data<float>()[0] = -1;  // sealed: this is a copy now
  EXPECT_FALSE(tensor.in_store());
  EXPECT_TRUE(IsRamp(Get(ref)));
}

TEST(Tensor, TravelsAsARefToWhereItLies) {
  EXPECT_TRUE(Get(Task<&IsRampInStore>().Remote(Ramp())));
  const Tensor made = Get(Task<&MakeRamp>().Remote());
  EXPECT_TRUE(made.in_store());
  EXPECT_TRUE(IsRamp(made));
  EXPECT_TRUE(Get(Task<&IsRampInStore>().Remote(made)));  // on to the next
}

struct Layer {
  Tensor weights;
  std::vector<Tensor> more;
  Buffer blob;
  std::string name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(weights, more, blob, name);
  }
};
Layer Pass(Layer layer) { return layer; }

TEST(Tensor, TravelsInsideValues) {
  Layer layer{Ramp(),
              {Tensor::From(std::vector<int>{1, 2, 3}), Tensor::From(std::vector<double>(10'000, 2.5))},
              Buffer::Copy(std::string(100'000, 'b')),
              "dense"};
  const Layer same = Get(Task<&Pass>().Remote(layer));
  EXPECT_TRUE(same.weights.in_store());
  EXPECT_TRUE(IsRamp(same.weights));
  EXPECT_THAT(same.more[0].values<int>(), ElementsAre(1, 2, 3));
  EXPECT_EQ(same.more[1].values<double>()[9'999], 2.5);
  EXPECT_EQ(same.blob.view(), std::string(100'000, 'b'));
  EXPECT_EQ(same.name, "dense");
}

class Parameters {
 public:
  Parameters() : weights_(Ramp()) {}
  Tensor Weights() { return weights_; }
  void Step() {
    Tensor next = Create<float>(weights_.shape());
    for (size_t i = 0; i < next.size(); ++i) next.mutable_data<float>()[i] = weights_.data<float>()[i] + 1;
    weights_ = next;
  }

 private:
  Tensor weights_;
};

TEST(Tensor, IsPublishedInVersionsThatReadersKeep) {
  auto parameters = Actor<Parameters>().Remote();
  const Tensor old_version = Get(parameters.Call<&Parameters::Weights>().Remote());
  Get(parameters.Call<&Parameters::Step>().Remote());
  const Tensor new_version = Get(parameters.Call<&Parameters::Weights>().Remote());
  EXPECT_TRUE(IsRamp(old_version));
  EXPECT_TRUE(IsRamp(new_version, 1));
  EXPECT_EQ(Get(parameters.Call<&Parameters::Weights>().Remote()).raw_data(), new_version.raw_data());
}

TEST(Tensor, SlicesTravelToo) {
  const Tensor ramp = Get(Put(Ramp()));
  const Tensor rows = Get(Put(ramp.Slice(10, 40)));
  EXPECT_EQ(rows.shape(), Shape({30, kColumns}));
  EXPECT_TRUE(IsRamp(rows, 10.0f * kColumns));
  EXPECT_EQ(rows.raw_data(), ramp.data<float>() + 10 * kColumns);  // a view of the same object
}

TEST(Tensor, SmallOnesTravelInLine) {
  Tensor small = Create<int>({10});
  EXPECT_FALSE(small.in_store());
  small.mutable_data<int>()[9] = 9;
  EXPECT_EQ(Get(Put(small)).values<int>()[9], 9);
  EXPECT_EQ(Get(Put(Tensor())).size(), 0u);
}

TEST(Tensor, ViewCannotBeWrittenTo) {
  const Tensor view = Get(Put(Ramp()));
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    const_cast<float*>(view.data<float>())[0] = 1;
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << "status " << status;
}

TEST(Store, SaysWhenItIsFullAndGivesBack) {
  {
    std::vector<ObjectRef<Tensor>> refs;
    EXPECT_THROW(for (int i = 0; i < 4; ++i) refs.push_back(Put(Create<char>({kStoreBytes / 4 + 1}))),
                 OutOfMemoryError);
    EXPECT_THAT(refs, SizeIs(testing::Ge(2)));
  }
  // What nobody has a ref to makes room, if not in the same instant.
  for (int i = 0;; ++i) {
    try {
      EXPECT_EQ(Get(Put(Create<char>({kStoreBytes / 2}))).size(), kStoreBytes / 2);
      break;
    } catch (const OutOfMemoryError&) {
      ASSERT_LT(i, 1000);
      std::this_thread::sleep_for(10ms);
    }
  }
}

}  // namespace
}  // namespace manta::api_test
