// What a Python pickle holds (docs.python.org, pickletools; protocols 2 to 5), read as data.
// Rule: nothing in a pickle is ever run. Classes and functions stay names; an object is the name of
// what would be called, its arguments, and what would be put into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kInteger,  // also True and False
    kReal,
    kText,      // of text and bytes alike
    kName,      // text: "module name" of a class or a function
    kSequence,  // items of a list, a tuple or a set
    kDict,      // entries
    kObject,    // items: what is called, its arguments; entries and state: what it was filled with
    kPersistent,  // items[0]: how the file names something outside the pickle
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<const PickleValue*> items;
  std::vector<std::pair<const PickleValue*, const PickleValue*>> entries;
  const PickleValue* state = nullptr;

  bool is_text(std::string_view wanted) const { return kind == Kind::kText && text == wanted; }
  // Whether it is an object made by calling `name`, "module name".
  bool is_call_of(std::string_view name) const {
    return kind == Kind::kObject && items[0]->kind == Kind::kName && items[0]->text == name;
  }
  // The value under a text key; nullptr when there is none.
  const PickleValue* find(std::string_view key) const;
};

class Pickle {
 public:
  // Reads one pickle from the front of `bytes`; more may follow. An Error says what is wrong with
  // it, without the file's name.
  explicit Pickle(std::string_view bytes);

  const PickleValue& root() const { return *root_; }
  const std::deque<PickleValue>& values() const { return values_; }  // all, in the file's order
  size_t size() const { return size_; }                              // bytes that it took

 private:
  std::deque<PickleValue> values_;  // values refer to one another, in circles too
  const PickleValue* root_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tessera
