// Large objects of an embedded cluster: where they lie, who copies them, and what becomes of them.
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

// What /proc/self/status says of `field`, in bytes.
uint64_t StatusBytes(const std::string& field) {
  std::istringstream status(ReadFile("/proc/self/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

// The line of /proc/self/maps that `address` is in.
std::string MappingOf(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::istringstream maps(ReadFile("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) == 2 && begin <= wanted && wanted < end) return line;
  }
  return "";
}

uint64_t SumOf(const Tensor& numbers) {
  uint64_t sum = 0;
  for (const uint64_t number : numbers.values<uint64_t>()) sum += number;
  return sum;
}

Tensor Ascending(size_t bytes) {
  std::vector<uint64_t> numbers(bytes / sizeof(uint64_t));
  std::iota(numbers.begin(), numbers.end(), 0);
  return Tensor::From(std::move(numbers));
}
uint64_t SumOfAscending(size_t bytes) {
  const uint64_t count = bytes / sizeof(uint64_t);
  return count * (count - 1) / 2;
}

}  // namespace

// ------------------------------------------------------------------ what runs in workers

struct Look {
  bool in_store = false;
  std::string mapping;
  uint64_t sum = 0;
  uint64_t private_bytes_more = 0;  // anonymous memory that the look cost
  template <class Archive>
  void serialize(Archive& archive) {
    archive(in_store, mapping, sum, private_bytes_more);
  }
};

class Reader {
 public:
  Look At(ObjectRef<Tensor> object) {
    const uint64_t before = StatusBytes("RssAnon");
    const Tensor numbers = Get(object);
    Look look{numbers.in_store(), MappingOf(numbers.raw_data()), SumOf(numbers), 0};
    const uint64_t after = StatusBytes("RssAnon");
    look.private_bytes_more = after > before ? after - before : 0;
    return look;
  }
  Look AtArgument(Tensor numbers) { return {numbers.in_store(), MappingOf(numbers.raw_data()), SumOf(numbers), 0}; }
  void Keep(ObjectRef<Tensor> object) { kept_.push_back(object); }
  void Forget() { kept_.clear(); }
  uint64_t SharedBytes() { return StatusBytes("RssShmem"); }
  uint64_t SumOfKept() {
    uint64_t sum = 0;
    for (const ObjectRef<Tensor>& object : kept_) sum += SumOf(Get(object));
    return sum;
  }

 private:
  std::vector<ObjectRef<Tensor>> kept_;
};

Tensor MakeAscending(size_t bytes) {
  Tensor numbers = Create<uint64_t>({static_cast<int64_t>(bytes / sizeof(uint64_t))});
  std::iota(numbers.mutable_values<uint64_t>().begin(), numbers.mutable_values<uint64_t>().end(), 0);
  return numbers;
}
uint64_t SumUp(Tensor numbers) { return SumOf(numbers); }
int WriteIntoView(Tensor numbers) {
  const_cast<uint64_t*>(numbers.data<uint64_t>())[0] = 1;
  return 1;
}
uint64_t ChangeACopy(Tensor numbers) {
  numbers.mutable_values<uint64_t>()[0] += 1000;
  return SumOf(numbers);
}
// Dies with half of an object written.
int DieWriting(size_t bytes) {
  Tensor numbers = Create<uint64_t>({static_cast<int64_t>(bytes / sizeof(uint64_t))});
  std::iota(numbers.mutable_values<uint64_t>().begin(),
            numbers.mutable_values<uint64_t>().begin() + static_cast<std::ptrdiff_t>(bytes / sizeof(uint64_t) / 2), 0);
  raise(SIGKILL);
  return 1;
}
// Dies with an object sealed that nobody else knows.
int DieHolding(size_t bytes) {
  const ObjectRef<Tensor> put = Put(MakeAscending(bytes));
  raise(SIGKILL);
  return 1;
}
std::vector<ObjectRef<Tensor>> PutSeveral(int count, size_t bytes) {
  std::vector<ObjectRef<Tensor>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(Put(MakeAscending(bytes)));
  return refs;
}
int FillTheStore() {
  std::vector<ObjectRef<Tensor>> refs;
  for (int i = 0; i < 100; ++i) refs.push_back(Put(MakeAscending(16 * kMiB)));
  return 1;
}

// ------------------------------------------------------------------ the tests

class Objects : public EmbeddedTest {};

TEST_F(Objects, AreReadInOtherProcessesWithoutACopy) {
  StartCluster({"--manta-store-memory=256MiB"});
  const auto reader = Actor<Reader>().Remote();
  Get(reader.Call<&Reader::SumOfKept>().Remote());  // it runs
  const ObjectRef<Tensor> object = Put(Ascending(64 * kMiB));
  const Look look = Get(reader.Call<&Reader::At>().Remote(object));
  EXPECT_TRUE(look.in_store);
  EXPECT_THAT(look.mapping, AllOf(HasSubstr("memfd:"), HasSubstr(" r--s ")));
  EXPECT_EQ(look.sum, SumOfAscending(64 * kMiB));
  if (!kHasShadowMemory) {
    EXPECT_LT(look.private_bytes_more, 8 * kMiB);
  }

  const Look argument = Get(reader.Call<&Reader::AtArgument>().Remote(object));
  EXPECT_TRUE(argument.in_store);
  EXPECT_THAT(argument.mapping, HasSubstr("memfd:"));
  EXPECT_EQ(argument.sum, look.sum);
}

TEST_F(Objects, AreReadInTheDriverWithoutACopy) {
  StartCluster({"--manta-store-memory=256MiB"});
  const ObjectRef<Tensor> made = Task<&MakeAscending>().Remote(64 * kMiB);
  Wait(std::vector<ObjectRef<Tensor>>{made});
  const uint64_t before = StatusBytes("RssAnon");
  const Tensor numbers = Get(made);
  EXPECT_EQ(SumOf(numbers), SumOfAscending(64 * kMiB));
  if (!kHasShadowMemory) {
    EXPECT_LT(StatusBytes("RssAnon"), before + 8 * kMiB);
  }
  EXPECT_THAT(MappingOf(numbers.raw_data()), AllOf(HasSubstr("memfd:"), HasSubstr(" r--s ")));
  const Tensor again = Get(made);
  EXPECT_EQ(again.raw_data(), numbers.raw_data());
}

TEST_F(Objects, AreSealedWhereTheyWereWritten) {
  StartCluster({"--manta-store-memory=256MiB"});
  const uint64_t before = StatusBytes("RssAnon");
  Tensor numbers = MakeAscending(64 * kMiB);
  EXPECT_TRUE(numbers.in_store());
  EXPECT_EQ(Get(Task<&SumUp>().Remote(numbers)), SumOfAscending(64 * kMiB));
  if (!kHasShadowMemory) {
    EXPECT_LT(StatusBytes("RssAnon"), before + 8 * kMiB);
  }
  // Sealed now: a write moves this tensor to a copy, and nobody else sees it.
  const ObjectRef<Tensor> object = Put(numbers);
  numbers.mutable_values<uint64_t>()[0] = 77;
  EXPECT_EQ(Get(object).values<uint64_t>()[0], 0u);
}

TEST_F(Objects, AreNotChangedByReaders) {
  StartCluster();
  const ObjectRef<Tensor> object = Put(Ascending(4 * kMiB));
  EXPECT_EQ(Get(Task<&ChangeACopy>().Remote(object)), SumOfAscending(4 * kMiB) + 1000);
  EXPECT_EQ(Get(Task<&SumUp>().Remote(object)), SumOfAscending(4 * kMiB));
}

TEST_F(Objects, EndWhoWritesIntoAView) {
  StartCluster();
  const ObjectRef<Tensor> object = Put(Ascending(4 * kMiB));
  const auto error = ErrorOf<WorkerDiedError>([&] { Get(Task<&WriteIntoView>().MaxRetries(0).Remote(object)); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("signal 11"));
  EXPECT_TRUE(error->may_have_run());
  EXPECT_EQ(Get(Task<&SumUp>().Remote(object)), SumOfAscending(4 * kMiB));
}

SCENARIO(DriverThatWritesIntoAView) {
  const Runtime runtime = Init(argc, argv);
  const Tensor numbers = Get(Put(Ascending(4 * kMiB)));
  Say("reads " + std::to_string(SumOf(numbers)));
  const_cast<uint64_t*>(numbers.data<uint64_t>())[0] = 1;
  Say("wrote");
  return 0;
}
TEST_F(Objects, EndADriverThatWritesIntoAView) {
  Scenario driver = Run("DriverThatWritesIntoAView");
  EXPECT_EQ(driver.Join().signal, SIGSEGV) << driver.output();
  EXPECT_TRUE(driver.Said("reads"));
  EXPECT_FALSE(driver.Said("wrote"));
}

TEST_F(Objects, GoWithTheirLastRef) {
  StartCluster({"--manta-store-memory=64MiB"});
  const uint64_t before = StatusBytes("VmRSS");
  for (int i = 0; i < 40; ++i) {
    const ObjectRef<Tensor> object = Put(Ascending(16 * kMiB));
    if (i % 10 == 0) {
      EXPECT_EQ(Get(Task<&SumUp>().Remote(object)), SumOfAscending(16 * kMiB));
    }
  }
  if (!kHasShadowMemory) {
    EXPECT_LT(StatusBytes("VmRSS"), before + 160 * kMiB) << "freed segments stay mapped";
  }
}

TEST_F(Objects, GoWithTheirLastRefWhoeverMadeThem) {
  StartCluster({"--manta-store-memory=64MiB"});
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Get(Task<&SumUp>().Remote(Task<&MakeAscending>().Remote(16 * kMiB))), SumOfAscending(16 * kMiB));
  }
  for (int i = 0; i < 10; ++i) {
    const std::vector<ObjectRef<Tensor>> refs = Get(Task<&PutSeveral>().Remote(3, 12 * kMiB));
    for (const ObjectRef<Tensor>& ref : refs) EXPECT_EQ(SumOf(Get(ref)), SumOfAscending(12 * kMiB));
  }
}

TEST_F(Objects, StayWhileABorrowerHasThem) {
  StartCluster({"--manta-store-memory=64MiB"});
  const auto reader = Actor<Reader>().Remote();
  Get(reader.Call<&Reader::Keep>().Remote(Put(Ascending(16 * kMiB))));
  for (int i = 0; i < 10; ++i) Put(Ascending(24 * kMiB));
  EXPECT_EQ(Get(reader.Call<&Reader::SumOfKept>().Remote()), SumOfAscending(16 * kMiB));
  Get(reader.Call<&Reader::Forget>().Remote());
  EXPECT_TRUE(Within(seconds(5), [] {
    try {
      Put(Ascending(56 * kMiB));
      return true;
    } catch (const OutOfMemoryError&) {
      return false;
    }
  }));
}

TEST_F(Objects, StayWhileAViewIsRead) {
  StartCluster({"--manta-store-memory=64MiB"});
  const Tensor view = Get(Put(Ascending(16 * kMiB)));  // no ref is left, only the view
  for (int i = 0; i < 10; ++i) Put(Ascending(24 * kMiB));
  EXPECT_EQ(SumOf(view), SumOfAscending(16 * kMiB));
}

TEST_F(Objects, SayThatTheStoreIsFull) {
  StartCluster({"--manta-store-memory=64MiB"});
  std::vector<ObjectRef<Tensor>> refs;
  const auto error = ErrorOf<OutOfMemoryError>([&] {
    for (int i = 0; i < 10; ++i) refs.push_back(Put(Ascending(16 * kMiB)));
  });
  ASSERT_TRUE(error);
  EXPECT_GE(refs.size(), 3u);
  EXPECT_THAT(error->what(), HasSubstr("store")) << "names what is full";
  EXPECT_THAT(error->what(), AllOf(HasSubstr("64"), HasSubstr("MiB"))) << "names the limit";
  EXPECT_EQ(SumOf(Get(refs[0])), SumOfAscending(16 * kMiB));
  refs.clear();
  EXPECT_EQ(SumOf(Get(Put(Ascending(48 * kMiB)))), SumOfAscending(48 * kMiB));
  EXPECT_TRUE(ErrorOf<OutOfMemoryError>([] { Put(Ascending(65 * kMiB)); })) << "it can never fit";
}

TEST_F(Objects, SayInTasksThatTheStoreIsFull) {
  StartCluster({"--manta-store-memory=64MiB"});
  const Result<int> filled = TryGet(Task<&FillTheStore>().MaxRetries(0).Remote());
  ASSERT_FALSE(filled.ok());
  EXPECT_EQ(filled.error().code(), ErrorCode::kTaskError);
  EXPECT_THAT(dynamic_cast<const TaskError&>(filled.error()).type(), HasSubstr("OutOfMemoryError"));
  EXPECT_EQ(Get(Task<&SumUp>().Remote(Put(Ascending(48 * kMiB)))), SumOfAscending(48 * kMiB));
}

TEST_F(Objects, VanishWhenTheirWriterDiesBeforeTheyAreSealed) {
  StartCluster({"--manta-store-memory=64MiB"});
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&DieWriting>().MaxRetries(0).Remote(32 * kMiB)); }));
  }
  EXPECT_EQ(SumOf(Get(Put(Ascending(48 * kMiB)))), SumOfAscending(48 * kMiB));
}

TEST_F(Objects, VanishWithTheOnlyProcessThatKnewThem) {
  StartCluster({"--manta-store-memory=64MiB"});
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&DieHolding>().MaxRetries(0).Remote(32 * kMiB)); }));
  }
  EXPECT_EQ(SumOf(Get(Put(Ascending(48 * kMiB)))), SumOfAscending(48 * kMiB));
}

// Memory that the node has taken back must not live on in the mappings of those who once read or wrote it.
TEST_F(Objects, StayWithinTheQuotaWhateverTheirSizes) {
  StartCluster({"--manta-store-memory=64MiB"});
  const auto reader = Actor<Reader>().Remote();
  for (int round = 0; round < 3; ++round) {
    for (const size_t mib : {3, 5, 9, 17, 30, 50, 33, 18, 10, 6}) {
      const ObjectRef<Tensor> object = Put(MakeAscending(mib * kMiB));
      EXPECT_EQ(Get(reader.Call<&Reader::At>().Remote(object)).sum, SumOfAscending(mib * kMiB));
    }
  }
  EXPECT_LT(StatusBytes("RssShmem"), 72 * kMiB);
  EXPECT_LT(Get(reader.Call<&Reader::SharedBytes>().Remote()), 72 * kMiB);
}

TEST_F(Objects, OfManySizesShareTheStore) {
  StartCluster({"--manta-store-memory=64MiB"});
  std::vector<std::pair<size_t, ObjectRef<Tensor>>> kept;
  for (int round = 0; round < 300; ++round) {
    const size_t bytes = (size_t{70'000} << (round % 6)) + static_cast<size_t>(round) * 8;
    kept.emplace_back(bytes / 8 * 8, Put(Ascending(bytes / 8 * 8)));
    if (kept.size() > 20) kept.erase(kept.begin() + round % 20);
  }
  for (const auto& [bytes, object] : kept) {
    EXPECT_EQ(Get(Task<&SumUp>().Remote(object)), SumOfAscending(bytes));
  }
}

}  // namespace manta::embedded
