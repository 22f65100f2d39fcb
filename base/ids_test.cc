#include "base/ids.h"

#include <gtest/gtest.h>

namespace manta {
namespace {

TEST(Ids, TellWhatTheyName) {
  EXPECT_EQ(ToString(kHead), "head");
  EXPECT_EQ(ToString(DaemonOf(3)), "n3");
  const ProcessId process{3, 7};
  EXPECT_EQ(ToString(process), "n3.p7");
  EXPECT_EQ(ToString(CallId{process, 12}), "n3.p7.c12");
  EXPECT_EQ(ToString(ObjectId{process, 12, 0}), "n3.p7.o12.0");
  EXPECT_EQ(ToString(ActorId{process, 12}), "n3.p7.a12");
  EXPECT_EQ(ToString(LeaseId{3, 9}), "n3.l9");
  EXPECT_EQ(ToString(TicketId{{process, 12}, 1, 2, false}), "n3.p7.c12.t1.2");
  EXPECT_EQ(ToString(TicketId{{process, 12}, 1, 2, true}), "n3.p7.c12.r1.2");
}

TEST(Ids, AnActorsHandleIsAnObjectThatNamesTheActor) {
  const ActorId actor{{3, 7}, 12};
  EXPECT_TRUE(actor.handle().is_actor());
  EXPECT_EQ(ActorId::FromHandle(actor.handle()), actor);
  EXPECT_EQ(ToString(actor.handle()), "n3.p7.a12");
  EXPECT_EQ(actor.handle().home(), 3u);
}

TEST(Ids, KindsOfProcessesExcludeEachOther) {
  for (const ProcessId& id : {kHead, DaemonOf(1), ProcessId{1, 1}}) {
    EXPECT_EQ(id.is_head() + id.is_daemon() + id.is_user_process(), 1) << ToString(id);
  }
}

}  // namespace
}  // namespace manta
