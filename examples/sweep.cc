// Looks for a good network and learning rate on part of Fashion-MNIST: 40 trials, most of which Asha stops early. Each
// trial's checkpoint is the network as it is; kill the program at any moment, and `sweep --restore` goes on.
//
// Prints, while it runs:
//   fashion: 6.0 s, 31 of 40 trials: 2 running, 4 done, 25 stopped; best accuracy 0.83105 (trial 9, step 9)
//     best: rate=0.31 hidden=64 batch=32 decay=0.9
//     rung    step  trials        best      cutoff
//        0       1      31     0.77246     0.71387
//   ...
// and at the end:
//   trial    state  step  accuracy     rate  hidden  batch  decay
//       9     done     9  0.831055     0.31      64     32    0.9
//   ...
//   best accuracy 0.831; most important: rate; see manta-sweeps/fashion/report.html
#include <manta/manta.h>
#include <manta/ml/asha.h>
#include <manta/ml/dataset.h>
#include <manta/ml/mlp.h>
#include <manta/ml/tpe_searcher.h>
#include <manta/ml/tuner.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "examples/flags.h"

namespace ml = manta::ml;

constexpr int64_t kEpochs = 9;

// What a trial does: one epoch after the other, with a report and a checkpoint after each.
void TrainMlp(ml::Trial& trial, const ml::Dataset& train, const ml::Dataset& test) {
  const ml::Config& config = trial.config();
  const auto batch = uint64_t(config.Int("batch"));
  ml::Mlp<float> model({.hidden = int(config.Int("hidden"))}, int(batch));
  manta::Tensor weights(manta::DType::kFloat32, {int64_t(model.parameter_count())});
  model.Initialize(1, weights.mutable_values<float>());
  if (trial.has_checkpoint()) weights = trial.checkpoint();
  for (int64_t epoch = trial.step() + 1; epoch <= kEpochs; ++epoch) {
    const auto rate = float(config.Double("rate") * std::pow(config.Double("decay"), double(epoch - 1)));
    double loss = 0;
    for (uint64_t begin = 0; begin < train.count(); begin += batch) {
      const uint64_t end = std::min(begin + batch, train.count());
      const auto [rows, labels] = train.Rows(begin, end);
      loss += model.Step(weights.mutable_values<float>(), {rows, labels}, rate) * double(end - begin);
    }
    const auto [rows, labels] = test.Rows(0, test.count());
    const ml::Score score = model.Evaluate(weights.values<float>(), {rows, labels});
    trial.Report({{"accuracy", score.accuracy()}, {"loss", loss / double(train.count())}}, weights);
  }
}

void Run(const Flags& flags) {
  const ml::IdxOptions idx{.shuffle_seed = 1, .mean = 0.286f, .deviation = 0.353f};
  const ml::Dataset train = ml::LoadMnist(flags["--data"], "train", idx).Slice(0, 4096);
  const ml::Dataset test = ml::LoadMnist(flags["--data"], "t10k", idx).Slice(0, 2048);

  ml::SearchSpace space;
  space.LogUniform("rate", 1e-3, 2)
      .IntUniform("hidden", 8, 128, /*log=*/true)
      .Choice("batch", {int64_t{16}, int64_t{32}, int64_t{64}})
      .Uniform("decay", 0.5, 1);
  ml::TuneConfig tune{
      .metric = "accuracy", .mode = ml::Mode::kMax, .num_samples = int64_t(flags.Number("--trials", 1))};
  tune.searcher = std::make_shared<ml::Tpe>(ml::Tpe::Options{.seed = 1});
  tune.scheduler = std::make_shared<ml::Asha>(ml::Asha::Options{.steps_max = kEpochs, .eta = 3});
  const ml::RunConfig run{.name = flags["--name"], .storage = flags["--storage"], .resources = {.cpus = 1}};

  using Tuner = ml::Tuner<&TrainMlp>;
  const ml::ResultGrid results = flags.Is("--restore") ? Tuner::Restore(run.name, run.storage, train, test).Fit()
                                                       : Tuner(space, tune, run, train, test).Fit();
  std::printf("%s", results.Table(5).c_str());
  const auto importance = results.Importance();
  std::printf("best accuracy %.3f; most important: %s; see %s/%s/report.html\n", *results.Best().Last("accuracy"),
              importance.empty() ? "?" : importance[0].parameter.c_str(), run.storage.c_str(), run.name.c_str());
}

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  try {
    const Flags flags(
        argc, argv,
        "--data=/usr/share/datasets/fashion-mnist --name=fashion --storage=manta-sweeps --trials=40 --restore=0");
    if (flags.help()) return 0;
    Run(flags);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sweep: %s\n", error.what());
    return 1;
  }
}
