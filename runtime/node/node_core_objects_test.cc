// References, the store, pulls.
#include "runtime/node/node_core_fixture.h"
#include "runtime/node/pull_table.h"

namespace manta::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kBytes = 2 << 20;

class NodeObjects : public NodeCoreTest {
 protected:
  void SetUp() override {
    Join();
    See({Node(6, 2), Node(7, 2)});
    driver_ = Driver();
    worker_ = Lease(driver_, 1).worker;
    actions_.clear();
  }
  // Makes the segments that were asked for.
  void MakeSegments() {
    for (const CreateSegment& create : TakeActions<CreateSegment>()) {
      Do(SegmentCreated{create.segment, create.size_bytes, ""});
    }
  }
  rpc::SegmentGrant Room(ProcessId process, uint64_t bytes = kBytes) {
    From(process, rpc::SegmentRequest{++requests_, bytes});
    MakeSegments();
    const auto sent = TakeActions<SendSegment>();
    EXPECT_THAT(sent, SizeIs(1));
    return sent.empty() ? rpc::SegmentGrant{} : std::get<rpc::SegmentGrant>(sent[0].message);
  }
  // `process` writes and seals an object of `owner`.
  rpc::StoreLocation Seal(ProcessId process, const ObjectId& object, uint32_t attempt = 0) {
    const rpc::SegmentGrant grant = Room(process);
    const rpc::StoreLocation location{kSelf, grant.segment, grant.offset, kBytes};
    From(process, rpc::ObjectSeal{object, attempt, location, object.owner, {}});
    return location;
  }
  // Nobody reads anything.
  void Scan() {
    for (const PinScan& scan : TakeActions<PinScan>()) {
      PinsScanned scanned;
      for (const auto& range : scan.ranges) scanned.unpinned.push_back(range.object);
      Do(scanned);
    }
  }
  rpc::ObjectResolved StoredAt(const ObjectId& object, rpc::StoreLocation location, ProcessId asker) {
    rpc::ObjectResolved answer;
    answer.object = object;
    answer.asker = asker;
    answer.value.kind = rpc::Value::Kind::kStored;
    answer.value.object = object;
    answer.value.location = location;
    return answer;
  }
  // The one writing that the core wants.
  WriteObject TakeWrite() {
    MakeSegments();
    const std::vector<WriteObject> writes = TakeActions<WriteObject>();
    EXPECT_EQ(writes.size(), 1u);
    return writes.empty() ? WriteObject{} : writes[0];
  }
  // A pull of `object`, 48 of the 64 MiB there are, that is being written.
  WriteObject BeginLargePull(const ObjectId& object, uint32_t attempt = 0) {
    rpc::ObjectResolved answer = StoredAt(object, {7, 4, 0, kLargeBytes}, driver_);
    answer.attempt = attempt;
    FromNode(object.home(), answer);
    rpc::ObjectPulled pulled = Bytes2MiB(object);
    pulled.size_bytes = kLargeBytes;
    pulled.attempt = attempt;
    FromNode(7, pulled);
    return TakeWrite();
  }
  static constexpr uint64_t kLargeBytes = 48 << 20;
  // Whether the store has room for as much again, at once.
  bool LargeRoomIsFree() {
    From(driver_, rpc::SegmentRequest{++requests_, kLargeBytes});
    MakeSegments();
    for (const SendSegment& sent : TakeActions<SendSegment>()) {
      const auto* grant = std::get_if<rpc::SegmentGrant>(&sent.message);
      if (grant == nullptr || grant->size_bytes == 0) continue;
      From(driver_, rpc::SegmentReturn{grant->segment, grant->offset, grant->size_bytes});
      return true;
    }
    return false;
  }
  rpc::ObjectPulled Bytes2MiB(const ObjectId& object) {
    rpc::ObjectPulled pulled;
    pulled.object = object;
    pulled.found = true;
    pulled.size_bytes = kBytes;
    return pulled;
  }

  ProcessId driver_, worker_;
  uint64_t requests_ = 0;
};

TEST_F(NodeObjects, RelaysWhatIsCountedElsewhereInOrder) {
  const ObjectId object{{6, 1}, 3, 0};
  const TicketId ticket{{driver_, 1}, 0, 0, false};
  From(driver_, rpc::RefTicket{ticket, object, driver_, {}});
  From(driver_, rpc::RefRegister{object, driver_, 1, {}});
  From(driver_, rpc::RefOutcome{ticket, object, {}});
  From(driver_, rpc::RefRelease{.object = object, .holder = driver_, .borrow = 1});
  std::vector<std::string> names;
  for (const NodeAction& action : actions_) {
    const auto* send = std::get_if<SendMessage>(&action);
    if (send != nullptr && send->to == DaemonOf(6)) names.emplace_back(rpc::MessageName(send->message));
  }
  EXPECT_THAT(names, ElementsAre("RefTicket", "RefRegister", "RefOutcome", "RefRelease"));
  EXPECT_EQ(counts().home_entries, 0u);
}

TEST_F(NodeObjects, ASealedObjectIsReadHereAndItsMemoryUsedAgain) {
  const ObjectId object{driver_, 1, 0};
  const rpc::StoreLocation location = Seal(worker_, object);
  From(driver_, rpc::ObjectResolve{object, driver_});
  const auto answers = Take<rpc::ObjectResolved>(driver_);
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].value.location, location);
  From(driver_, rpc::SegmentMap{location.segment});
  EXPECT_EQ(TakeActions<SendSegment>().at(0).segment, location.segment);
  From(driver_, rpc::RefRelease{.object = object, .holder = driver_, .borrow = 0, .sealed_on = kSelf});
  EXPECT_EQ(counts().store_objects, 0u);
  Scan();
  EXPECT_EQ(Room(worker_).segment, location.segment);
}

TEST_F(NodeObjects, MapsNothingThatIsNotThere) {
  From(driver_, rpc::SegmentMap{99});
  EXPECT_EQ(TakeActions<SendSegment>().at(0).segment, 0u);
}

TEST_F(NodeObjects, WhoHasADescriptorOfASegmentIsToldThatItIsGone) {
  const rpc::SegmentGrant grant = Room(worker_, 40 << 20);
  From(driver_, rpc::SegmentMap{grant.segment});
  From(worker_, rpc::SegmentReturn{grant.segment, grant.offset, grant.size_bytes});
  TakeActions<SendSegment>();
  Room(driver_, 60 << 20);
  EXPECT_THAT(Take<rpc::SegmentGone>(worker_), ElementsAre(rpc::SegmentGone{grant.segment}));
  EXPECT_THAT(Take<rpc::SegmentGone>(driver_), ElementsAre(rpc::SegmentGone{grant.segment}));
}

TEST_F(NodeObjects, AWriterThatSealsWhereItMayNotIsKilled) {
  From(worker_, rpc::ObjectSeal{{driver_, 1, 0}, 0, {kSelf, 1, 0, kBytes}, driver_, {}});
  EXPECT_THAT(TakeKills(), ElementsAre(worker_));
  EXPECT_EQ(counts().home_entries, 0u);
  From(driver_, rpc::SegmentReturn{1, 0, 64});
  EXPECT_THAT(TakeKills(), ElementsAre(driver_));
}

TEST_F(NodeObjects, UnsealedMemoryOfADeadWriterIsFree) {
  const rpc::SegmentGrant grant = Room(worker_);
  Ended(worker_);
  actions_.clear();
  EXPECT_EQ(Room(driver_).segment, grant.segment);
}

TEST_F(NodeObjects, PullsACopyAndTellsTheHome) {
  const ObjectId object{{6, 1}, 3, 0};
  From(driver_, rpc::ObjectResolve{object, driver_});
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), SizeIs(1));
  const rpc::StoreLocation there{7, 4, 0, kBytes};
  FromNode(6, StoredAt(object, there, driver_));
  FromNode(6, StoredAt(object, there, worker_));
  const auto pulls = Take<rpc::ObjectPull>(DaemonOf(7));
  ASSERT_THAT(pulls, SizeIs(1));
  EXPECT_EQ(pulls[0].puller, kSelf);
  FromNode(7, Bytes2MiB(object));
  const WriteObject write = TakeWrite();
  EXPECT_EQ(write.object, object);
  EXPECT_EQ(write.source, 7u);
  EXPECT_EQ(write.location.size_bytes, kBytes);
  EXPECT_THAT(Take<rpc::ObjectResolved>(driver_), IsEmpty()) << "it is not whole yet";
  Do(ObjectWritten{write.pull, ""});
  const auto copies = Take<rpc::ObjectCopy>(DaemonOf(6));
  ASSERT_THAT(copies, SizeIs(1));
  EXPECT_TRUE(copies[0].present);
  for (const ProcessId asker : {driver_, worker_}) {
    const auto answers = Take<rpc::ObjectResolved>(asker);
    ASSERT_THAT(answers, SizeIs(1));
    EXPECT_EQ(answers[0].value.location, copies[0].location);
    EXPECT_EQ(answers[0].value.location.node, kSelf);
  }
  FromNode(6, StoredAt(object, there, driver_));
  EXPECT_THAT(Take<rpc::ObjectResolved>(driver_), SizeIs(1)) << "it is here";
  FromNode(6, rpc::ObjectDrop{object});
  EXPECT_EQ(counts().store_objects, 0u);
  FromNode(7, rpc::ObjectDrop{object});
}

TEST_F(NodeObjects, AsksTheHomeAgainWhenTheSourceIsGone) {
  const ObjectId object{{6, 1}, 3, 0};
  FromNode(6, StoredAt(object, {7, 4, 0, kBytes}, driver_));
  rpc::ObjectPulled missing;
  missing.object = object;
  FromNode(7, missing);
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), SizeIs(1));
  FromNode(6, StoredAt(object, {7, 4, 0, kBytes}, driver_));
  FromHead(rpc::NodeDied{7, "silent"});
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), SizeIs(1));
}

TEST_F(NodeObjects, APullThatFindsNoMemoryIsAnError) {
  Room(driver_, 60 << 20);
  const ObjectId object{{6, 1}, 3, 0};
  FromNode(6, StoredAt(object, {7, 4, 0, 8 << 20}, driver_));
  rpc::ObjectPulled pulled = Bytes2MiB(object);
  pulled.size_bytes = 8 << 20;
  FromNode(7, pulled);
  Pass(std::chrono::seconds(3));
  const auto answers = Take<rpc::ObjectResolved>(driver_);
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].error.code, rpc::ErrorCode::kOutOfMemory);
}

TEST_F(NodeObjects, TellsAHomeThatNamesADeadSource) {
  const ObjectId object{{6, 1}, 3, 0};
  const rpc::StoreLocation there{7, 4, 0, kBytes};
  FromHead(rpc::NodeDied{7, "silent"});
  FromNode(6, StoredAt(object, there, driver_));
  EXPECT_THAT(Take<rpc::ObjectCopy>(DaemonOf(6)), ElementsAre(rpc::ObjectCopy{object, 0, there, false}));
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), ElementsAre(rpc::ObjectResolve{object, driver_}));
  EXPECT_EQ(counts().pulls, 0u);
}

TEST_F(NodeObjects, AsksTheHomeAgainWhenTheBytesDoNotCome) {
  const ObjectId object{{6, 1}, 3, 0};
  const WriteObject write = BeginLargePull(object);
  Do(ObjectWritten{write.pull, "checksum"});
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), ElementsAre(rpc::ObjectResolve{object, driver_}));
  EXPECT_THAT(Take<rpc::ObjectCopy>(DaemonOf(6)), IsEmpty());
  EXPECT_EQ(counts().store_objects, 0u);
  EXPECT_EQ(counts().pulls, 0u);
  EXPECT_TRUE(LargeRoomIsFree());
}

TEST_F(NodeObjects, ASourceWhoseBytesStayDamagedCountsAsWithoutTheObject) {
  const ObjectId object{{6, 1}, 3, 0};
  WriteObject write = BeginLargePull(object);
  EXPECT_THAT(Take<rpc::ObjectPull>(DaemonOf(7)), SizeIs(1));
  for (int damaged = 1; damaged < node::PullTable::kDamagedMax; ++damaged) {
    Do(ObjectWritten{write.pull, "checksum", true});
    EXPECT_THAT(Take<rpc::ObjectPull>(DaemonOf(7)), SizeIs(1));
    EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), IsEmpty());
    rpc::ObjectPulled pulled = Bytes2MiB(object);
    pulled.size_bytes = kLargeBytes;
    FromNode(7, pulled);
    write = TakeWrite();
  }
  Do(ObjectWritten{write.pull, "checksum", true});
  EXPECT_THAT(Take<rpc::ObjectPull>(DaemonOf(7)), IsEmpty());
  const auto copies = Take<rpc::ObjectCopy>(DaemonOf(6));
  ASSERT_THAT(copies, SizeIs(1));
  EXPECT_EQ(copies[0].location.node, 7u);
  EXPECT_TRUE(copies[0].damaged && !copies[0].present);
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), ElementsAre(rpc::ObjectResolve{object, driver_}));
  EXPECT_EQ(counts().pulls, 0u);
  EXPECT_TRUE(LargeRoomIsFree());
}

// What ends a pull while the shell writes; whether the home is asked again.
struct Ending {
  const char* name;
  bool asks_again;
};

class NodePullEnds : public NodeObjects, public ::testing::WithParamInterface<Ending> {
 protected:
  void End() {
    const std::string what = GetParam().name;
    if (what == "SourceDied") FromHead(rpc::NodeDied{7, "silent"});
    if (what == "HomeDied") FromHead(rpc::NodeDied{6, "silent"});
    if (what == "AskerDied") Ended(driver_);
  }
};

TEST_P(NodePullEnds, AndTheRoomIsFreeWhenTheShellHasStopped) {
  const WriteObject write = BeginLargePull({{6, 1}, 3, 0});
  End();
  const auto abandoned = TakeActions<AbandonWrite>();
  ASSERT_THAT(abandoned, SizeIs(1));
  EXPECT_EQ(abandoned[0].pull, write.pull);
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), SizeIs(GetParam().asks_again ? 1 : 0));
  EXPECT_EQ(counts().pulls, 1u);
  driver_ = Driver();
  EXPECT_FALSE(LargeRoomIsFree()) << "the shell may still write there";
  Do(ObjectWritten{write.pull, "given up"});
  MakeSegments();
  const auto sent = TakeActions<SendSegment>();
  ASSERT_THAT(sent, SizeIs(1)) << "the room that was waited for";
  EXPECT_EQ(std::get<rpc::SegmentGrant>(sent[0].message).size_bytes, kLargeBytes);
  EXPECT_EQ(counts().pulls, 0u);
  EXPECT_EQ(counts().store_objects, 0u);
}

INSTANTIATE_TEST_SUITE_P(Endings, NodePullEnds,
                         ::testing::Values(Ending{"SourceDied", true}, Ending{"HomeDied", false},
                                           Ending{"AskerDied", false}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(NodeObjects, ANewerAttemptStopsTheWritingOfTheOlderOne) {
  const ObjectId object{{6, 1}, 3, 0};
  const WriteObject old = BeginLargePull(object);
  rpc::ObjectResolved newer = StoredAt(object, {7, 5, 0, kBytes}, worker_);
  newer.attempt = 1;
  FromNode(6, newer);
  ASSERT_THAT(TakeActions<AbandonWrite>(), SizeIs(1));
  EXPECT_THAT(Take<rpc::ObjectPull>(DaemonOf(7)),
              ElementsAre(rpc::ObjectPull{object, 0, kSelf}, rpc::ObjectPull{object, 1, kSelf}));
  Do(ObjectWritten{old.pull, ""});
  EXPECT_EQ(counts().store_objects, 0u) << "nobody wants the older one";
  rpc::ObjectPulled pulled = Bytes2MiB(object);
  pulled.attempt = 1;
  FromNode(7, pulled);
  Do(ObjectWritten{TakeWrite().pull, ""});
  EXPECT_THAT(Take<rpc::ObjectResolved>(driver_), SizeIs(1));
  EXPECT_THAT(Take<rpc::ObjectResolved>(worker_), SizeIs(1));
}

TEST_F(NodeObjects, ANewerAttemptMadeHereIsNotAnsweredWithTheOldOne) {
  const ObjectId object{{6, 1}, 3, 0};
  const WriteObject write = BeginLargePull(object);
  const rpc::SegmentGrant room = Room(worker_, kBytes);
  rpc::ObjectSeal seal{object, 1, {kSelf, room.segment, room.offset, kBytes}, worker_, {}};
  From(worker_, seal);
  Do(ObjectWritten{write.pull, ""});
  EXPECT_THAT(Take<rpc::ObjectResolved>(driver_), IsEmpty());
  EXPECT_THAT(Take<rpc::ObjectResolve>(DaemonOf(6)), ElementsAre(rpc::ObjectResolve{object, driver_}));
}

TEST_F(NodeObjects, SendsWhatOthersPull) {
  const ObjectId object{driver_, 1, 0};
  const rpc::StoreLocation location = Seal(worker_, object);
  FromNode(6, rpc::ObjectPull{object, 0, 6});
  const auto sent = TakeActions<SendObject>();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].location, location);
  EXPECT_TRUE(sent[0].pulled.found);
  FromNode(6, rpc::ObjectPull{object, 1, 6});
  const auto missing = Take<rpc::ObjectPulled>(DaemonOf(6));
  ASSERT_THAT(missing, SizeIs(1));
  EXPECT_FALSE(missing[0].found) << "another attempt";
}

TEST_F(NodeObjects, ADeadHomesObjectsGo) {
  const ObjectId object{{6, 1}, 3, 0};
  Seal(worker_, object);
  EXPECT_THAT(Take<rpc::ObjectSeal>(DaemonOf(6)), SizeIs(1));
  EXPECT_EQ(counts().store_objects, 1u);
  FromHead(rpc::NodeDied{6, "silent"});
  EXPECT_EQ(counts().store_objects, 0u);
  EXPECT_THAT(Take<rpc::NodeDied>(driver_), SizeIs(1));
}

TEST_F(NodeObjects, ADeadProcesssHoldsGoWhenEverybodyHasAnswered) {
  const ObjectId object{driver_, 1, 0};
  rpc::ObjectPublish publish;
  publish.object = object;
  From(driver_, publish);
  FromNode(6, rpc::RefRegister{object, {6, 4}, 1, {}});
  From(driver_, rpc::RefRelease{.object = object, .holder = driver_});
  FromNode(6, rpc::ProcessDied{.process = {6, 4}, .reason = "killed", .newest_node = 7});
  EXPECT_THAT(Take<rpc::ProcessDied>(driver_), SizeIs(1));
  for (const NodeId node : {6, 7}) FromNode(node, rpc::DeathDrained{{6, 4}, static_cast<NodeId>(node)});
  EXPECT_EQ(counts().home_entries, 1u) << "the processes here have not answered";
  From(driver_, rpc::DeathDrained{{6, 4}, kSelf});
  From(worker_, rpc::DeathDrained{{6, 4}, kSelf});
  EXPECT_THAT(Take<rpc::DeathDrained>(DaemonOf(7)), SizeIs(1));
  EXPECT_EQ(counts().home_entries, 0u);
}

}  // namespace
}  // namespace manta::runtime
