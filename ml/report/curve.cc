#include "manta/ml/curve.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <string>

#include "ml/data/durable_file.h"

namespace manta::ml {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr int kBarColumns = 30;

// "#####....." : `share` of `columns`, from 0 to 1.
std::string Bar(double share, int columns, char empty) {
  int full = int(std::clamp(share, 0.0, 1.0) * columns + 0.5);
  return std::string(size_t(full), '#') + std::string(size_t(columns - full), empty);
}

void AddTo(EventFile* events, const LearningCurve::Point& point) {
  const auto step = int64_t(point.samples);
  events->Scalar("loss", step, point.loss);
  events->Scalar("accuracy", step, point.accuracy);
  events->Scalar("staleness", step, point.staleness);
  events->Scalar("samples_per_second", step, point.samples_per_second);
}

// The shortest text that is read back as `value`.
std::string Exactly(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

}  // namespace

LearningCurve::LearningCurve(Options options)
    : options_(std::move(options)),
      is_terminal_(options_.out != nullptr && options_.is_terminal.value_or(isatty(fileno(options_.out)) == 1)),
      start_(options_.now()),
      last_draw_(start_ - kRedraw) {}

LearningCurve::~LearningCurve() { ClearBar(); }

void LearningCurve::Count(uint64_t samples, double loss_sum) {
  samples_ += samples;
  loss_sum_ += loss_sum;
  Clock::time_point now = options_.now();
  if (!is_terminal_ || now - last_draw_ < kRedraw) return;
  last_draw_ = now;
  DrawBar();
}

void LearningCurve::DrawBar() {
  double seconds = Seconds();
  double share = options_.samples_total == 0 ? 0 : double(samples_) / double(options_.samples_total);
  double left = share > 0 ? std::max(0.0, seconds / share - seconds) : 0;
  std::fprintf(options_.out, "\r[%s] %3.0f%%  loss %.4f  %.0f samples/s  %.0f s left \033[K",
               Bar(share, kBarColumns, '.').c_str(), 100 * std::min(share, 1.0), Loss(),
               seconds > 0 ? double(samples_) / seconds : 0, left);
  std::fflush(options_.out);
  bar_drawn_ = true;
}

void LearningCurve::Add(double accuracy, double staleness) {
  Point before = points_.empty() ? Point() : points_.back();
  Point point{samples_, Loss(), accuracy, staleness, Seconds(), 0};
  loss_sum_ = 0;
  double elapsed = point.seconds - before.seconds;
  if (elapsed > 0) point.samples_per_second = double(point.samples - before.samples) / elapsed;
  if (options_.target > 0 && point.accuracy >= options_.target && !seconds_to_target_) {
    seconds_to_target_ = point.seconds;
  }
  points_.push_back(point);
  if (options_.events != nullptr) AddTo(options_.events, point);
  if (options_.out == nullptr) return;
  ClearBar();
  if (points_.size() == 1) {
    std::fprintf(options_.out, "%10s %8s %8s %9s %10s %10s\n", "samples", "seconds", "loss", "accuracy", "samples/s",
                 "staleness");
  }
  // Accuracies differ in their last digits: the bar shows 0.7 to 0.9.
  std::fprintf(options_.out, "%10llu %8.2f %8.4f %9.4f %10.0f %10.2f  |%s|\n",
               static_cast<unsigned long long>(point.samples), point.seconds, point.loss, point.accuracy,
               point.samples_per_second, point.staleness, Bar((point.accuracy - 0.7) / 0.2, 20, ' ').c_str());
  std::fflush(options_.out);
}

void LearningCurve::WriteCsv(const std::string& path) const {
  std::string text = "samples,seconds,loss,accuracy,samples_per_second,staleness\n";
  for (const Point& point : points_) {
    text += std::to_string(point.samples);
    for (double value : {point.seconds, point.loss, point.accuracy, point.samples_per_second, point.staleness}) {
      text += "," + Exactly(value);
    }
    text += "\n";
  }
  WriteDurably(path, text);
}

double LearningCurve::Seconds() const { return std::chrono::duration<double>(options_.now() - start_).count(); }

// The mean since the last point.
double LearningCurve::Loss() const {
  uint64_t count = samples_since_point();
  return count == 0 ? 0 : loss_sum_ / double(count);
}

void LearningCurve::ClearBar() {
  if (!bar_drawn_) return;
  std::fputs("\r\033[K", options_.out);
  std::fflush(options_.out);
  bar_drawn_ = false;
}

constexpr uint64_t kHistogramTail = 200;  // of a total: what is less than this part of it

void PrintHistogram(std::FILE* out, const char* title, std::span<const uint64_t> counts) {
  uint64_t total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  std::fprintf(out, "%s (%llu)\n", title, static_cast<unsigned long long>(total));
  size_t end = counts.size();
  while (end > 0 && counts[end - 1] == 0) --end;
  // The last counts, rare as they are, share a line.
  uint64_t rest = 0;
  while (end > 1 && (rest + counts[end - 1]) * kHistogramTail < total) rest += counts[--end];
  auto print = [&](size_t i, bool and_above, uint64_t count) {
    double share = double(count) / double(total);
    std::fprintf(out, "%6zu%s %6.1f%% |%s\n", i, and_above ? "+" : " ", 100 * share, Bar(share, 40, ' ').c_str());
  };
  for (size_t i = 0; i < end; ++i) print(i, i + 1 == counts.size(), counts[i]);
  if (rest != 0) print(end, true, rest);
}

}  // namespace manta::ml
