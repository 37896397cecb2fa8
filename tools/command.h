// The commands of the `tessera` program: each file adds one to the command line and hands back what
// to run when the user typed it.
// Rule: results go to stdout, messages to stderr. A command returns the exit status or throws:
// UsageError and CLI::ParseError mean 2, everything else 1 (main.cc).
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace tessera {

struct Command {
  CLI::App* app;             // owned by the root
  std::function<int()> run;  // after parsing
};

Command add_pretrain_mae(CLI::App& pretrain);
Command add_pretrain_beit(CLI::App& pretrain);
Command add_tokenizer_train(CLI::App& tokenizer);
Command add_tokenizer_evaluate(CLI::App& tokenizer);
Command add_finetune(CLI::App& root);
Command add_reconstruct(CLI::App& root);
Command add_evaluate_reconstruction(CLI::App& evaluate);
Command add_evaluate_classification(CLI::App& evaluate);
Command add_probe(CLI::App& root);
Command add_features(CLI::App& root);
Command add_attention(CLI::App& root);
Command add_predict(CLI::App& root);
Command add_curves(CLI::App& root);
Command add_info(CLI::App& root);
Command add_import(CLI::App& root);
Command add_export(CLI::App& root);
Command add_demo(CLI::App& root);
Command add_bench_step(CLI::App& bench);
Command add_bench_data(CLI::App& bench);
Command add_bench_gemm(CLI::App& bench);
Command add_bench_ops(CLI::App& bench);

}  // namespace tessera
