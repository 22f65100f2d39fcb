// SparseLogisticRegression is LogisticRegression whose batches are sparse rows: what a Trainer trains on data in
// LIBSVM's format.
//
//   ml::Trainer<ml::SparseLogisticRegression<float>> trainer({.model = {.inputs = int(train.columns())},
//                                                             .data = train,        // LoadLibsvm("a9a", ...)
//                                                             .test = test,
//                                                             .strategy = ml::DataParallel{}});
//
// The parameters, and what workers exchange, are dense: a number per column. For millions of columns of which a batch
// has few, SparseParameterServer exchanges those alone (examples/ctr_ftrl.cc).
#ifndef MANTA_ML_SPARSE_LOGISTIC_H_
#define MANTA_ML_SPARSE_LOGISTIC_H_

#include "manta/ml/logistic.h"
#include "manta/ml/model.h"

namespace manta::ml {

// Threads and errors: LogisticRegression's.
template <typename Scalar>
class SparseLogisticRegression : public LogisticRegression<Scalar> {
 public:
  using BatchType = SparseBatch;

  using LogisticRegression<Scalar>::LogisticRegression;
};

static_assert(Model<SparseLogisticRegression<float>> && Model<SparseLogisticRegression<double>>);

}  // namespace manta::ml

#endif  // MANTA_ML_SPARSE_LOGISTIC_H_
