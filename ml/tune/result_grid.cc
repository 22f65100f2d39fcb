#include "manta/ml/result_grid.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "manta/error.h"
#include "ml/data/durable_file.h"
#include "ml/tune/html_report.h"
#include "ml/tune/sweep_records.h"

namespace manta::ml {
namespace {

constexpr size_t kGroupsMax = 8;
constexpr size_t kTrialsForImportance = 3;

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

// Ranks from 0, equal values share the mean of theirs.
std::vector<double> RanksOf(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = double(begin + end - 1) / 2;
  }
  return ranks;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double mean_a = Mean(a), mean_b = Mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa == 0 || bb == 0 ? 0 : ab / std::sqrt(aa * bb);
}

// Epsilon squared (Kelley 1935): the share of the variance of `y` between groups, less what chance gives.
double ShareBetween(const std::vector<size_t>& groups, const std::vector<double>& y) {
  std::map<size_t, std::pair<double, double>> sums;  // of a group: count, sum
  for (size_t i = 0; i < y.size(); ++i) {
    sums[groups[i]].first += 1;
    sums[groups[i]].second += y[i];
  }
  const double mean = Mean(y), n = double(y.size()), k = double(sums.size());
  double total = 0, between = 0;
  for (const double value : y) total += (value - mean) * (value - mean);
  for (const auto& [group, sum] : sums) {
    between += sum.first * (sum.second / sum.first - mean) * (sum.second / sum.first - mean);
  }
  if (total == 0 || k < 2 || n <= k) return 0;
  const double within = (total - between) / (n - k);
  return std::clamp((between - (k - 1) * within) / total, 0.0, 1.0);
}

double AsDouble(const ParamValue& value) {
  if (const auto* const number = std::get_if<int64_t>(&value)) return double(*number);
  return std::get<double>(value);
}

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? std::string("\"\"") : std::string(1, c);
  return cell + "\"";
}

// Width in characters, not bytes, of UTF-8.
size_t WidthOf(const std::string& text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string Columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.at(0).size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += (i == 0 ? "" : "  ") + std::string(widths[i] - WidthOf(row[i]), ' ') + row[i];
    }
    text += line + "\n";
  }
  return text;
}

Json ParametersJson(const SearchSpace& space) {
  Json json = Json::array();
  for (const Parameter& parameter : space.parameters()) {
    Json values = Json::array();
    for (const ParamValue& value : parameter.values) values.push_back(ToText(value));
    const char* const kind = !parameter.is_range() ? "choice" : parameter.is_log() ? "log" : "linear";
    json.push_back({{"name", parameter.name},
                    {"kind", kind},
                    {"low", parameter.low},
                    {"high", parameter.high},
                    {"values", std::move(values)}});
  }
  return json;
}

}  // namespace

std::optional<double> TrialResult::Last(const std::string& metric) const {
  if (reports.empty()) return std::nullopt;
  const auto found = reports.back().metrics.find(metric);
  return found == reports.back().metrics.end() ? std::nullopt : std::optional<double>(found->second);
}

ResultGrid::ResultGrid(std::string name, SearchSpace space, std::string metric, Mode mode,
                       std::vector<TrialResult> trials)
    : name_(std::move(name)),
      space_(std::move(space)),
      metric_(std::move(metric)),
      mode_(mode),
      trials_(std::move(trials)) {}

size_t ResultGrid::Count(TrialState state) const {
  return size_t(std::count_if(trials_.begin(), trials_.end(), [&](const auto& trial) { return trial.state == state; }));
}

const TrialResult& ResultGrid::Best(const std::string& metric, Mode mode) const {
  const TrialResult* best = nullptr;
  std::set<std::string> reported;
  for (const TrialResult& trial : trials_) {
    if (trial.state == TrialState::kFailed) continue;
    if (!trial.reports.empty()) {
      for (const auto& [name, value] : trial.reports.back().metrics) reported.insert(name);
    }
    const std::optional<double> value = trial.Last(metric);
    if (!value || !std::isfinite(*value)) continue;
    const double held = best == nullptr ? 0 : *best->Last(metric);
    if (best == nullptr || (mode == Mode::kMin ? *value < held : *value > held)) best = &trial;
  }
  if (best != nullptr) return *best;
  std::string why =
      "ResultGrid::Best: none of " + std::to_string(trials_.size()) + " trials has a finite \"" + metric + "\"";
  if (!reported.empty()) {
    why += "; reported were:";
    for (const std::string& name : reported) why += " " + name;
  }
  for (const TrialResult& trial : trials_) {
    if (trial.error.empty()) continue;
    why += "; trial " + std::to_string(trial.id) + " failed: " + trial.error;
    break;
  }
  throw InvalidArgumentError(why);
}

// Trials with a finite result, best first, then the others.
std::vector<size_t> ResultGrid::Ranking() const {
  std::vector<size_t> order(trials_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto score = [&](size_t i) {
    const double value = trials_[i].Last(metric_).value_or(std::nan(""));
    if (!std::isfinite(value) || trials_[i].state == TrialState::kFailed) return HUGE_VAL;
    return mode_ == Mode::kMin ? value : -value;
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return score(a) < score(b); });
  return order;
}

std::vector<ParameterImportance> ResultGrid::Importance() const {
  std::vector<ParameterImportance> importance;
  for (const Parameter& parameter : space_.parameters()) {
    std::vector<double> x, y;
    std::vector<std::string> labels;
    for (const TrialResult& trial : trials_) {
      const ParamValue* const value = trial.config.Find(parameter.name);
      const double metric = trial.Last(metric_).value_or(std::nan(""));
      if (value == nullptr || !std::isfinite(metric) || trial.state == TrialState::kFailed) continue;
      if (parameter.is_range()) x.push_back(AsDouble(*value));
      labels.push_back(ToText(*value));
      y.push_back(metric);
    }
    if (y.size() < kTrialsForImportance) continue;
    const std::vector<double> ranks = RanksOf(y);
    std::vector<size_t> groups(y.size());
    if (parameter.is_range()) {
      const std::vector<double> places = RanksOf(x);
      const size_t count = std::clamp<size_t>(y.size() / 4, 2, kGroupsMax);
      for (size_t i = 0; i < y.size(); ++i) groups[i] = size_t(places[i] * double(count) / double(y.size()));
    } else {
      std::map<std::string, size_t> known;
      for (size_t i = 0; i < y.size(); ++i) groups[i] = known.emplace(labels[i], known.size()).first->second;
    }
    importance.push_back(
        {parameter.name, ShareBetween(groups, ranks), parameter.is_range() ? Correlation(RanksOf(x), ranks) : 0});
  }
  std::stable_sort(importance.begin(), importance.end(),
                   [](const auto& a, const auto& b) { return a.share > b.share; });
  return importance;
}

std::string ResultGrid::Table(size_t rows) const {
  std::vector<std::vector<std::string>> cells{{"trial", "state", "step", metric_}};
  for (const Parameter& parameter : space_.parameters()) cells[0].push_back(parameter.name);
  const std::vector<size_t> order = Ranking();
  for (size_t i = 0; i < order.size() && i < rows; ++i) {
    const TrialResult& trial = trials_[order[i]];
    const std::optional<double> metric = trial.Last(metric_);
    cells.push_back(
        {std::to_string(trial.id), NameOf(trial.state), std::to_string(trial.step()), metric ? Number(*metric) : "-"});
    for (const Parameter& parameter : space_.parameters()) {
      const ParamValue* const value = trial.config.Find(parameter.name);
      const double* const number = value == nullptr ? nullptr : std::get_if<double>(value);
      cells.back().push_back(value == nullptr ? "-" : number != nullptr ? Number(*number) : ToText(*value));
    }
  }
  std::string text = Columns(cells);
  if (order.size() > rows) text += "and " + std::to_string(order.size() - rows) + " more\n";
  return text;
}

std::string ResultGrid::ToCsv() const {
  std::set<std::string> metrics;
  for (const TrialResult& trial : trials_) {
    if (trial.reports.empty()) continue;
    for (const auto& [name, value] : trial.reports.back().metrics) metrics.insert(name);
  }
  std::string text = "trial,state,step,seconds";
  for (const Parameter& parameter : space_.parameters()) text += "," + CsvCell("config/" + parameter.name);
  for (const std::string& name : metrics) text += "," + CsvCell(name);
  text += ",failures,error\r\n";
  for (const TrialResult& trial : trials_) {
    text += std::to_string(trial.id) + "," + NameOf(trial.state) + "," + std::to_string(trial.step()) + "," +
            Number(std::max(0.0, trial.end_seconds - trial.begin_seconds));
    for (const Parameter& parameter : space_.parameters()) {
      const ParamValue* const value = trial.config.Find(parameter.name);
      text += "," + (value == nullptr ? "" : CsvCell(ToText(*value)));
    }
    for (const std::string& name : metrics) {
      const std::optional<double> value = trial.Last(name);
      const Json json = value ? ml::ToJson(*value) : Json("");
      text += "," + (json.is_string() ? json.get<std::string>() : json.dump());
    }
    text += "," + std::to_string(trial.failures) + "," + CsvCell(trial.error) + "\r\n";
  }
  return text;
}

std::string ResultGrid::ToJson() const {
  Json trials = Json::array();
  for (const TrialResult& trial : trials_) {
    Json json = ml::ToJson(trial);
    json["checkpoint"] = trial.checkpoint;
    trials.push_back(std::move(json));
  }
  Json importance = Json::array();
  for (const ParameterImportance& parameter : Importance()) {
    importance.push_back(
        {{"parameter", parameter.parameter}, {"share", parameter.share}, {"correlation", parameter.correlation}});
  }
  const Json json{{"name", name_},
                  {"metric", metric_},
                  {"mode", NameOf(mode_)},
                  {"parameters", ParametersJson(space_)},
                  {"importance", std::move(importance)},
                  {"trials", std::move(trials)}};
  return TextOf(json) + "\n";
}

std::string ResultGrid::ToHtml() const { return HtmlReport(name_, ToJson()); }

void ResultGrid::WriteHtml(const std::string& path) const { WriteDurably(path, ToHtml()); }

}  // namespace manta::ml
