#include "rpc/codec_internal.h"
#include "rpc/schema/state.capnp.h"

namespace manta::rpc {
namespace {
constexpr size_t kRowWireBytes = sizeof(capnp::word);
constexpr size_t kFieldWireBytes = 3 * sizeof(capnp::word);

void Write(const StateQuery& m, schema::StateQuery::Builder b, Encoder*) {
  b.setRequest(m.request);
  b.setKind(static_cast<schema::StateKind>(m.kind));
  b.setNode(m.node);
  b.setSubject(TextOf(m.subject));
  b.setOffset(m.offset);
  b.setLimit(m.limit);
  b.setNoRestart(m.no_restart);
  if (!m.filters.empty()) WriteTexts(m.filters, b.initFilters(static_cast<kj::uint>(m.filters.size())));
}

void Read(schema::StateQuery::Reader r, Decoder* in, StateQuery* m) {
  m->request = r.getRequest();
  m->kind = in->Enum(r.getKind(), StateKind::kKillActor);
  m->node = r.getNode();
  in->Text(r.getSubject(), &m->subject);
  m->offset = r.getOffset();
  m->limit = r.getLimit();
  m->no_restart = r.getNoRestart();
  ReadTexts(r.getFilters(), in, &m->filters);
}

void Write(const StateReply& m, schema::StateReply::Builder b, Encoder* out) {
  b.setRequest(m.request);
  b.setNode(m.node);
  auto rows = b.initRows(static_cast<kj::uint>(m.rows.size()));
  for (kj::uint i = 0; i < rows.size(); ++i) {
    auto fields = rows[i].initFields(static_cast<kj::uint>(m.rows[i].fields.size()));
    for (kj::uint j = 0; j < fields.size(); ++j) {
      const StateField& field = m.rows[i].fields[j];
      fields[j].setKey(TextOf(field.key));
      fields[j].setValue(TextOf(field.value));
      fields[j].setIsJson(field.is_json);
    }
  }
  b.setTextBytes(out->AddPart(m.text));
  b.setTruncated(m.truncated);
  if (!m.error.empty()) b.setError(TextOf(m.error));
}

void ReadRow(schema::StateRow::Reader r, Decoder* in, StateRow* row) {
  const auto fields = r.getFields();
  if (!in->List(fields.size(), kFieldWireBytes)) return;
  row->fields.resize(fields.size());
  for (kj::uint i = 0; i < fields.size(); ++i) {
    in->Name(fields[i].getKey(), &row->fields[i].key);
    in->Text(fields[i].getValue(), &row->fields[i].value);
    row->fields[i].is_json = fields[i].getIsJson();
  }
}

void Read(schema::StateReply::Reader r, Decoder* in, StateReply* m) {
  m->request = r.getRequest();
  m->node = r.getNode();
  const auto rows = r.getRows();
  m->rows.clear();
  if (!in->List(rows.size(), kRowWireBytes)) return;
  m->rows.resize(rows.size());
  for (kj::uint i = 0; i < rows.size(); ++i) ReadRow(rows[i], in, &m->rows[i]);
  in->Part(r.getTextBytes(), &m->text);
  m->truncated = r.getTruncated();
  in->Text(r.getError(), &m->error);
}

}  // namespace

MANTA_RPC_MESSAGE(StateQuery, STATE_QUERY)
MANTA_RPC_MESSAGE(StateReply, STATE_REPLY)

}  // namespace manta::rpc
