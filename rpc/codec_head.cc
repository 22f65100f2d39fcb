#include "rpc/codec_actor.h"
#include "rpc/schema/head.capnp.h"

namespace manta::rpc {
namespace {
constexpr size_t kNodeInfoWireBytes = 8 * sizeof(capnp::word);
constexpr size_t kActorStartedWireBytes = 6 * sizeof(capnp::word);
constexpr size_t kActorEndedWireBytes = 5 * sizeof(capnp::word);
constexpr size_t kProgramFileWireBytes = 4 * sizeof(capnp::word);
constexpr size_t kSha256Bytes = 32;

void WriteInfo(const NodeInfo& m, schema::NodeInfo::Builder b) {
  b.setNode(m.node);
  b.setName(TextOf(m.name));
  b.setAddress(TextOf(m.address));
  WriteResources(m.total, b.initTotal());
  WriteResources(m.available, b.initAvailable());
  b.setVersion(m.version);
  b.setPid(m.pid);
  b.setMachine(TextOf(m.machine));
  b.setBesideHead(m.beside_head);
}

void ReadInfo(schema::NodeInfo::Reader r, Decoder* in, NodeInfo* m) {
  m->node = r.getNode();
  in->Name(r.getName(), &m->name);
  in->Name(r.getAddress(), &m->address);
  ReadResources(r.getTotal(), in, &m->total);
  ReadResources(r.getAvailable(), in, &m->available);
  m->version = r.getVersion();
  m->pid = r.getPid();
  in->Name(r.getMachine(), &m->machine);
  m->beside_head = r.getBesideHead();
}

void WriteInfos(const std::vector<NodeInfo>& infos, capnp::List<schema::NodeInfo>::Builder b) {
  for (kj::uint i = 0; i < b.size(); ++i) WriteInfo(infos[i], b[i]);
}

void ReadInfos(capnp::List<schema::NodeInfo>::Reader r, Decoder* in, std::vector<NodeInfo>* infos) {
  infos->clear();
  if (!in->List(r.size(), kNodeInfoWireBytes)) return;
  infos->resize(r.size());
  for (kj::uint i = 0; i < r.size(); ++i) ReadInfo(r[i], in, &(*infos)[i]);
}

void Write(const NodeRegister& m, schema::NodeRegister::Builder b, Encoder* out) {
  WriteInfo(m.info, b.initInfo());
  auto actors = b.initActors(static_cast<kj::uint>(m.actors.size()));
  for (kj::uint i = 0; i < actors.size(); ++i) rpc::Write(m.actors[i], actors[i], out);
  auto ended = b.initEnded(static_cast<kj::uint>(m.ended.size()));
  for (kj::uint i = 0; i < ended.size(); ++i) rpc::Write(m.ended[i], ended[i], out);
}

void Read(schema::NodeRegister::Reader r, Decoder* in, NodeRegister* m) {
  ReadInfo(r.getInfo(), in, &m->info);
  const auto actors = r.getActors();
  m->actors.clear();
  if (!in->List(actors.size(), kActorStartedWireBytes)) return;
  m->actors.resize(actors.size());
  for (kj::uint i = 0; i < actors.size(); ++i) rpc::Read(actors[i], in, &m->actors[i]);
  const auto ended = r.getEnded();
  m->ended.clear();
  if (!in->List(ended.size(), kActorEndedWireBytes)) return;
  m->ended.resize(ended.size());
  for (kj::uint i = 0; i < ended.size(); ++i) rpc::Read(ended[i], in, &m->ended[i]);
}

void Write(const NodeAccepted& m, schema::NodeAccepted::Builder b, Encoder*) {
  b.setNode(m.node);
  b.setHeadEpoch(m.head_epoch);
}

void Read(schema::NodeAccepted::Reader r, Decoder*, NodeAccepted* m) {
  m->node = r.getNode();
  m->head_epoch = r.getHeadEpoch();
}

void Write(const NodeFenced& m, schema::NodeFenced::Builder b, Encoder*) { b.setNode(m.node); }

void Read(schema::NodeFenced::Reader r, Decoder*, NodeFenced* m) { m->node = r.getNode(); }

void Write(const Heartbeat& m, schema::Heartbeat::Builder b, Encoder*) {
  b.setNode(m.node);
  b.setNumber(m.number);
}

void Read(schema::Heartbeat::Reader r, Decoder*, Heartbeat* m) {
  m->node = r.getNode();
  m->number = r.getNumber();
}

void Write(const NodeReport& m, schema::NodeReport::Builder b, Encoder*) { WriteInfo(m.info, b.initInfo()); }

void Read(schema::NodeReport::Reader r, Decoder* in, NodeReport* m) { ReadInfo(r.getInfo(), in, &m->info); }

void Write(const ClusterView& m, schema::ClusterView::Builder b, Encoder*) {
  b.setVersion(m.version);
  WriteInfos(m.nodes, b.initNodes(static_cast<kj::uint>(m.nodes.size())));
}

void Read(schema::ClusterView::Reader r, Decoder* in, ClusterView* m) {
  m->version = r.getVersion();
  ReadInfos(r.getNodes(), in, &m->nodes);
}

void Write(const NodesQuery& m, schema::NodesQuery::Builder b, Encoder*) { b.setRequest(m.request); }

void Read(schema::NodesQuery::Reader r, Decoder*, NodesQuery* m) { m->request = r.getRequest(); }

void Write(const NodesReply& m, schema::NodesReply::Builder b, Encoder*) {
  b.setRequest(m.request);
  WriteInfos(m.nodes, b.initNodes(static_cast<kj::uint>(m.nodes.size())));
}

void Read(schema::NodesReply::Reader r, Decoder* in, NodesReply* m) {
  m->request = r.getRequest();
  ReadInfos(r.getNodes(), in, &m->nodes);
}

void Write(const NodeDied& m, schema::NodeDied::Builder b, Encoder*) {
  b.setNode(m.node);
  b.setReason(TextOf(m.reason));
}

void Read(schema::NodeDied::Reader r, Decoder* in, NodeDied* m) {
  m->node = r.getNode();
  in->Text(r.getReason(), &m->reason);
}

void Write(const JobRegister& m, schema::JobRegister::Builder b, Encoder*) {
  b.setRequest(m.request);
  b.setNode(m.node);
  WritePair(m.driver, b.initDriver());
  b.setProgram(TextOf(m.program));
}

void Read(schema::JobRegister::Reader r, Decoder* in, JobRegister* m) {
  m->request = r.getRequest();
  m->node = r.getNode();
  m->driver = ReadProcess(r.getDriver());
  in->Text(r.getProgram(), &m->program);  // a path: any bytes
}

void Write(const JobAccepted& m, schema::JobAccepted::Builder b, Encoder*) {
  b.setRequest(m.request);
  WritePair(m.driver, b.initDriver());
  b.setJob(m.job);
  b.setHasDetached(m.has_detached);
}

void Read(schema::JobAccepted::Reader r, Decoder*, JobAccepted* m) {
  m->request = r.getRequest();
  m->driver = ReadProcess(r.getDriver());
  m->job = r.getJob();
  m->has_detached = r.getHasDetached();
}

void Write(const ProgramRequest& m, schema::ProgramRequest::Builder b, Encoder*) {
  b.setJob(m.job);
  b.setAsker(m.asker);
}

void Read(schema::ProgramRequest::Reader r, Decoder*, ProgramRequest* m) {
  m->job = r.getJob();
  m->asker = r.getAsker();
}

void Write(const ProgramInfo& m, schema::ProgramInfo::Builder b, Encoder*) {
  b.setJob(m.job);
  b.setNode(m.node);
  auto files = b.initFiles(static_cast<kj::uint>(m.files.size()));
  for (kj::uint i = 0; i < files.size(); ++i) {
    files[i].setPath(TextOf(m.files[i].path));
    const Bytes& hash = m.files[i].sha256;
    files[i].setSha256({reinterpret_cast<const kj::byte*>(hash.data()), hash.size()});
    files[i].setSizeBytes(m.files[i].size_bytes);
    files[i].setExecutable(m.files[i].executable);
  }
  WriteTexts(m.argv, b.initArgv(static_cast<kj::uint>(m.argv.size())));
  if (!m.error.empty()) b.setError(TextOf(m.error));
  b.setNameSpace(TextOf(m.name_space));
}

void Read(schema::ProgramInfo::Reader r, Decoder* in, ProgramInfo* m) {
  m->job = r.getJob();
  m->node = r.getNode();
  const auto files = r.getFiles();
  m->files.clear();
  if (!in->List(files.size(), kProgramFileWireBytes)) return;
  m->files.resize(files.size());
  for (kj::uint i = 0; i < files.size(); ++i) {
    ProgramFile& file = m->files[i];
    in->Text(files[i].getPath(), &file.path);
    const capnp::Data::Reader hash = files[i].getSha256();
    if (hash.size() != kSha256Bytes) return in->Fail("a file's hash does not have 32 bytes");
    file.sha256 = Bytes(hash.begin(), hash.size());
    file.size_bytes = files[i].getSizeBytes();
    file.executable = files[i].getExecutable();
  }
  ReadTexts(r.getArgv(), in, &m->argv);
  in->Text(r.getError(), &m->error);
  in->Name(r.getNameSpace(), &m->name_space);
}

}  // namespace

MANTA_RPC_MESSAGE(NodeRegister, NODE_REGISTER)
MANTA_RPC_MESSAGE(NodeAccepted, NODE_ACCEPTED)
MANTA_RPC_MESSAGE(NodeFenced, NODE_FENCED)
MANTA_RPC_MESSAGE(Heartbeat, HEARTBEAT)
MANTA_RPC_MESSAGE(NodeReport, NODE_REPORT)
MANTA_RPC_MESSAGE(ClusterView, CLUSTER_VIEW)
MANTA_RPC_MESSAGE(NodeDied, NODE_DIED)
MANTA_RPC_MESSAGE(JobRegister, JOB_REGISTER)
MANTA_RPC_MESSAGE(JobAccepted, JOB_ACCEPTED)
MANTA_RPC_MESSAGE(ProgramRequest, PROGRAM_REQUEST)
MANTA_RPC_MESSAGE(ProgramInfo, PROGRAM_INFO)
MANTA_RPC_MESSAGE(NodesQuery, NODES_QUERY)
MANTA_RPC_MESSAGE(NodesReply, NODES_REPLY)

}  // namespace manta::rpc
