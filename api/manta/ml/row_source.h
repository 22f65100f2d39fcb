// RowSource gives a model its batches: rows [begin, end) of an epoch, in the epoch's order.
//
// Without shuffling, and if the numbers are of the model's type, a batch is where the rows lie (in the object store:
// no copy). Else its rows are gathered into memory of the source's own.
//
// It is a template on the batch's type, which says what data it is made of (RowSource<B>::Data): Batch of a Dataset,
// SparseBatch of a SparseDataset; models of other batches need a specialisation of their own.
//
// Threads:    externally synchronised. A batch is valid until the next call of Rows.
#ifndef MANTA_ML_ROW_SOURCE_H_
#define MANTA_ML_ROW_SOURCE_H_

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "manta/ml/csr_matrix.h"
#include "manta/ml/dataset.h"
#include "manta/ml/error.h"
#include "manta/ml/model.h"

namespace manta::ml {

template <class B>
class RowSource;

namespace internal {

// The order of an epoch's rows, drawn from the seed and the epoch's number: the same on all platforms. Without a seed
// it is that of the data.
class EpochOrder {
 public:
  EpochOrder(uint64_t rows, std::optional<uint64_t> seed) : rows_(rows), seed_(seed) {}

  bool is_shuffled() const { return seed_.has_value(); }
  uint64_t rows() const { return rows_; }
  // For rows [begin, end) of epoch `epoch`. InvalidArgumentError: begin > end, or end > rows().
  void Begin(uint64_t epoch, uint64_t begin, uint64_t end) {
    if (begin > end || end > rows_) {
      throw InvalidArgumentError("RowSource: rows [" + std::to_string(begin) + ", " + std::to_string(end) + ") of " +
                                 std::to_string(rows_));
    }
    if (seed_ && drawn_ != epoch) Draw(epoch);
  }
  // Which row of the data is the epoch's i'th.
  uint64_t operator[](uint64_t i) const { return seed_ ? order_[i] : i; }

 private:
  // Fisher and Yates.
  void Draw(uint64_t epoch) {
    drawn_ = epoch;
    order_.resize(rows_);
    std::iota(order_.begin(), order_.end(), 0);
    std::mt19937_64 random(*seed_ * 0x9e3779b97f4a7c15u + epoch);
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
  }

  uint64_t rows_;
  std::optional<uint64_t> seed_;
  std::optional<uint64_t> drawn_;  // the epoch that order_ is of
  std::vector<uint32_t> order_;
};

}  // namespace internal

template <typename Scalar>
class RowSource<Batch<Scalar>> {
 public:
  using Data = Dataset;  // float32 or float64 rows

  static uint64_t CountOf(const Data& data) { return data.count(); }
  // All of `data` in the order of the file, for an evaluation.
  static RowSource InOrder(const Data& data) { return RowSource(data, std::nullopt); }

  // `shuffle_seed`: each epoch has an order of its own, drawn from it and the epoch's number; unset: the data's order.
  RowSource(Data data, std::optional<uint64_t> shuffle_seed)
      : data_(std::move(data)), order_(data_.count(), shuffle_seed) {}

  uint64_t count() const { return order_.rows(); }

  // InvalidArgumentError: begin > end, or end > count().
  Batch<Scalar> Rows(uint64_t epoch, uint64_t begin, uint64_t end) {
    order_.Begin(epoch, begin, end);
    const bool is_of_type = data_.rows.dtype() == DTypeOf<Scalar>();
    if (!order_.is_shuffled() && is_of_type) return InPlace(begin, end);
    if (is_of_type) return Gather(data_.rows.template values<Scalar>(), begin, end);
    if (data_.rows.dtype() == DType::kFloat32) return Gather(data_.rows.template values<float>(), begin, end);
    return Gather(data_.rows.template values<double>(), begin, end);
  }

 private:
  Batch<Scalar> InPlace(uint64_t begin, uint64_t end) const {
    const size_t columns = data_.columns();
    return {data_.rows.template values<Scalar>().subspan(begin * columns, (end - begin) * columns),
            data_.labels.template values<uint8_t>().subspan(begin, end - begin)};
  }

  template <typename From>
  Batch<Scalar> Gather(std::span<const From> rows, uint64_t begin, uint64_t end) {
    const size_t columns = data_.columns();
    const std::span<const uint8_t> labels = data_.labels.template values<uint8_t>();
    rows_.resize((end - begin) * columns);
    labels_.resize(end - begin);
    for (uint64_t i = begin; i < end; ++i) {
      const uint64_t row = order_[i];
      std::copy_n(rows.begin() + int64_t(row * columns), columns, rows_.begin() + int64_t((i - begin) * columns));
      labels_[i - begin] = labels[row];
    }
    return {rows_, labels_};
  }

  Data data_;
  internal::EpochOrder order_;
  std::vector<Scalar> rows_;
  std::vector<uint8_t> labels_;
};

// Rows of a compressed sparse matrix. Without shuffling nothing is copied.
template <>
class RowSource<SparseBatch> {
 public:
  using Data = SparseDataset;  // its labels are classes

  static uint64_t CountOf(const Data& data) { return data.count(); }
  static RowSource InOrder(const Data& data) { return RowSource(data, std::nullopt); }

  RowSource(Data data, std::optional<uint64_t> shuffle_seed)
      : data_(std::move(data)), order_(data_.count(), shuffle_seed) {}

  uint64_t count() const { return order_.rows(); }

  // InvalidArgumentError: begin > end, end > count(), or labels that are real targets.
  SparseBatch Rows(uint64_t epoch, uint64_t begin, uint64_t end) {
    order_.Begin(epoch, begin, end);
    if (order_.is_shuffled()) return Gather(begin, end);
    const SparseDataset::Range range = data_.Rows(begin, end);
    return {range.rows.offsets, range.rows.indices, range.rows.values, range.labels};
  }

 private:
  SparseBatch Gather(uint64_t begin, uint64_t end) {
    const SparseDataset::Range all = data_.Rows(0, count());
    offsets_.assign(1, 0);
    indices_.clear();
    values_.clear();
    labels_.clear();
    for (uint64_t i = begin; i < end; ++i) {
      const uint64_t row = order_[i];
      const auto first = int64_t(all.rows.offsets[row]), last = int64_t(all.rows.offsets[row + 1]);
      indices_.insert(indices_.end(), all.rows.indices.begin() + first, all.rows.indices.begin() + last);
      values_.insert(values_.end(), all.rows.values.begin() + first, all.rows.values.begin() + last);
      labels_.push_back(all.labels[row]);
      offsets_.push_back(indices_.size());
    }
    return {offsets_, indices_, values_, labels_};
  }

  Data data_;
  internal::EpochOrder order_;
  std::vector<uint64_t> offsets_;
  std::vector<uint32_t> indices_;
  std::vector<float> values_;
  std::vector<uint8_t> labels_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_ROW_SOURCE_H_
