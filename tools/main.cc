// The `tessera` program: the command line, and every failure as one line with an exit status.
// Rule: 0 done, 1 failed, 2 the user's mistake (CLI11's own codes included). Nothing heavy happens
// before a command runs.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/version.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr int kFailed = 1;
constexpr int kMistake = 2;

constexpr char kAbout[] =
    "Tessera learns pictures from a quarter of their tiles: it pre-trains masked image models,\n"
    "shows what they complete, measures it and hands the weights on.\n";
constexpr char kExamples[] =
    "Examples:\n"
    "  tessera demo\n"
    "  tessera pretrain mae --data photos/ --arch vit_small --image-size 64 --out runs/photos\n"
    "  tessera reconstruct --checkpoint runs/photos --data cat.jpg --out cat.png\n"
    "Each command has its own --help.";

// One line on stderr, whatever the text holds.
void complain(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  std::fputs(fmt::format("tessera: {}\n", text).c_str(), stderr);  // throws nothing if it is closed
}

std::string names_of(const std::vector<CLI::App*>& commands) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

// Walks the leading words through the tree of commands; a word that is none is a mistake that
// CLI11 would only call "not expected", an end before a leaf one that it cannot name at all.
void check_command_words(CLI::App* app, int argc, char** argv) {
  std::string path = "tessera";
  for (int i = 1;; ++i) {
    const auto commands = app->get_subcommands([](CLI::App*) { return true; });
    if (commands.empty() || (i < argc && argv[i][0] == '-')) return;
    const std::string known = fmt::format("known: {}; see {} --help", names_of(commands), path);
    TESSERA_CHECK_USAGE(i < argc, "{} wants a command; {}", path, known);
    app = nullptr;
    for (CLI::App* command : commands) {
      if (command->check_name(argv[i])) app = command;
    }
    TESSERA_CHECK_USAGE(app != nullptr, "there is no command '{}'; {}", argv[i], known);
    path += fmt::format(" {}", argv[i]);
  }
}

// "tessera pretrain mae" for the command that was being parsed.
std::string typed_command(const CLI::App& root) {
  std::string path = "tessera";
  for (const CLI::App* app = &root; !app->get_subcommands().empty();) {
    app = app->get_subcommands().front();
    path += " " + app->get_name();
  }
  return path;
}

// CLI11 sets groups of flags two lines apart.
std::string without_double_blanks(std::string text) {
  for (size_t i; (i = text.find("\n\n\n")) != text.npos;) text.erase(i, 1);
  return text;
}

int run(int argc, char** argv) {
  CLI::App root(kAbout, "tessera");
  root.footer(kExamples);
  root.set_version_flag("--version", fmt::format("tessera {}", kVersion), "print the version");
  root.set_help_flag("-h,--help", "print this help");
  root.get_formatter()->column_width(28);

  std::vector<Command> commands;
  commands.push_back(add_demo(root));
  CLI::App& pretrain = *root.add_subcommand("pretrain", "train a model on pictures alone");
  commands.push_back(add_pretrain_mae(pretrain));
  commands.push_back(add_pretrain_beit(pretrain));
  CLI::App& tokenizer = *root.add_subcommand("tokenizer", "visual tokens, which BEiT predicts");
  commands.push_back(add_tokenizer_train(tokenizer));
  commands.push_back(add_tokenizer_evaluate(tokenizer));
  commands.push_back(add_finetune(root));
  commands.push_back(add_reconstruct(root));
  CLI::App& evaluate = *root.add_subcommand("evaluate", "measure what a model has learnt");
  commands.push_back(add_evaluate_reconstruction(evaluate));
  commands.push_back(add_evaluate_classification(evaluate));
  commands.push_back(add_predict(root));
  commands.push_back(add_probe(root));
  commands.push_back(add_features(root));
  commands.push_back(add_attention(root));
  commands.push_back(add_curves(root));
  commands.push_back(add_info(root));
  commands.push_back(add_import(root));
  commands.push_back(add_export(root));
  CLI::App& bench = *root.add_subcommand("bench", "measure how fast this machine trains");
  commands.push_back(add_bench_step(bench));
  commands.push_back(add_bench_data(bench));
  commands.push_back(add_bench_gemm(bench));
  commands.push_back(add_bench_ops(bench));

  check_command_words(&root, argc, argv);
  try {
    root.parse(argc, argv);
    for (const Command& command : commands) {
      if (command.app->parsed()) return command.run();
    }
    throw UsageError("name a command first; see tessera --help");
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", without_double_blanks(root.help()));
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return root.exit(error);  // --version
    complain(fmt::format("{}; see {} --help", error.what(), typed_command(root)));
    return kMistake;
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  using tessera::complain;
  int status = tessera::kFailed;
  try {
    tessera::watch_stop_signals();  // before there are other threads
    status = tessera::run(argc, argv);
  } catch (const tessera::UsageError& error) {
    complain(error.what());
    return tessera::kMistake;
  } catch (const std::bad_alloc&) {
    complain("out of memory");
    return tessera::kFailed;
  } catch (const std::exception& error) {
    complain(error.what());
    return tessera::kFailed;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    complain("cannot write to the standard output");
    return tessera::kFailed;
  }
  return status;
}
