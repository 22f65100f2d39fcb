// Trains a network on Fashion-MNIST with a strategy chosen by flag; docs/ml.md says how the strategies work.
//
//    samples  seconds     loss  accuracy  samples/s  staleness
//      61440     0.17   0.5213    0.8433     391224       1.08  |##############      |
//   ...
//   test accuracy 0.884
//
//   --strategy=ps-async|ps-ssp|ps-bsp|allreduce|local-sgd|easgd   --workers=2 --epochs=20 --batch=64 --rate=0.1 ...
#include <manta/manta.h>
#include <manta/ml/mlp.h>
#include <manta/ml/trainer.h>

#include <cstdio>

#include "examples/flags.h"

namespace ml = manta::ml;

ml::Strategy StrategyOf(const Flags& flags) {
  ml::Strategy strategy = ml::StrategyNamed(flags["--strategy"]);
  const auto steps = uint64_t(flags.Number("--push-every", 1));
  if (auto* server = std::get_if<ml::ParameterServerSgd>(&strategy)) server->push_every = steps;
  if (auto* local = std::get_if<ml::LocalSgd>(&strategy)) local->steps = steps;
  if (auto* elastic = std::get_if<ml::Easgd>(&strategy)) elastic->tau = steps;
  return strategy;
}

void Run(const Flags& flags) {
  const bool bench = flags.Is("--bench"), quick = flags.Is("--quick");
  const auto seed = uint64_t(flags.Number("--seed", 0));
  const auto workers = size_t(flags.Number("--workers", 1));
  const double rate = flags.Number("--rate", 1e-6);
  const ml::IdxOptions idx{.shuffle_seed = seed, .mean = 0.286f, .deviation = 0.353f, .in_store = true};

  ml::Trainer<ml::Mlp<float>> trainer({
      .model = {.inputs = 784, .hidden = 128, .classes = 10},
      .data = ml::LoadMnist(flags["--data"], "train", idx),
      .test = ml::LoadMnist(flags["--data"], "t10k", idx),
      .strategy = StrategyOf(flags),
      .scaling = {.workers = workers},
      .epochs = quick ? 3 : uint64_t(flags.Number("--epochs", 1)),
      .batch = uint64_t(flags.Number("--batch", 1)),
      .rate = {.first = rate, .last = rate / 10},
      .seed = seed,
      .checkpoint = {.directory = flags["--checkpoints"]},
      .report = {.out = bench ? nullptr : stdout,
                 .target = flags.Number("--target", 0),
                 .csv = flags["--csv"],
                 .tensorboard = flags["--tensorboard"]},
      .speedup_rounds = bench   ? 5u
                        : quick ? 1u
                                : 3u,
  });
  const ml::TrainResult result = trainer.Fit();
  if (!flags["--save"].empty()) ml::WriteSafetensors(flags["--save"], trainer.Tensors(result));

  if (bench) {
    std::printf(
        "{\"samples_per_s\": %.0f, \"single_samples_per_s\": %.0f, \"ratio\": %.3f, \"accuracy\": %.4f, "
        "\"seconds_to_087\": %.3f}\n",
        result.speedup->workers_rows_per_s, result.speedup->one_loop_rows_per_s, result.speedup->ratio, result.accuracy,
        result.seconds_to_target.value_or(-1));
    return;
  }
  result.Print(stdout);
  std::printf("test accuracy %.3f\n", result.accuracy);
}

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  try {
    const Flags flags(argc, argv,
                      "--strategy=ps-async --workers=2 --epochs=20 --batch=64 --rate=0.1 --push-every=8 --target=0.87 "
                      "--seed=1 --data=/usr/share/datasets/fashion-mnist --save=fashion_mnist.safetensors "
                      "--checkpoints= --csv= --tensorboard= --quick=0 --bench=0");
    if (flags.help()) return 0;
    Run(flags);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fashion_mnist: %s\n", error.what());
    return 1;
  }
}
