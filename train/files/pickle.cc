// A machine of one stack, one stack of marks and a memo, as pickle.py describes it.
// Rule: every length is checked against what is left before it is believed.
#include "train/files/pickle.h"

#include <bit>
#include <cstring>
#include <map>

#include "engine/error.h"

namespace tessera {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMostNamed = size_t{1} << 20;  // letters; a model's classes have a few thousand

class Machine {
 public:
  Machine(std::string_view bytes, std::deque<PickleValue>& values)
      : rest_(bytes), values_(values) {}

  // Returns what STOP finds on the stack.
  const PickleValue* run() {
    for (;;) {
      const auto code = static_cast<unsigned char>(take(1)[0]);
      if (code == '.') return pop();
      step(code);
    }
  }
  size_t left() const { return rest_.size(); }

 private:
  std::string_view take(size_t bytes) {
    TESSERA_CHECK(bytes <= rest_.size(), "a pickle that ends too early");
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  // Little-endian, unsigned.
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    const std::string_view digits = take(bytes);
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    return value;
  }
  std::string_view line() {
    const size_t end = rest_.find('\n');
    TESSERA_CHECK(end != rest_.npos, "a pickle that ends too early");
    const std::string_view taken = take(end + 1);
    return taken.substr(0, end);
  }

  PickleValue& push(Kind kind) {
    PickleValue& value = values_.emplace_back();
    value.kind = kind;
    stack_.push_back(&value);
    return value;
  }
  void push_integer(int64_t integer) { push(Kind::kInteger).integer = integer; }
  void push_text(std::string_view text) { push(Kind::kText).text = text; }

  PickleValue* pop() {
    TESSERA_CHECK(stack_.size() > (marks_.empty() ? 0 : marks_.back()),
                  "a pickle that takes what it has not put");
    PickleValue* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue* top() {
    PickleValue* value = pop();
    stack_.push_back(value);
    return value;
  }
  // Everything above the last mark.
  std::vector<const PickleValue*> pop_to_mark() {
    TESSERA_CHECK(!marks_.empty(), "a pickle without its mark");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    const std::vector<const PickleValue*> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_sequence(std::vector<const PickleValue*> items) {
    push(Kind::kSequence).items = std::move(items);
  }
  void push_last(size_t count) {
    std::vector<const PickleValue*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push_sequence(std::move(items));
  }
  // An object out of what is called and its arguments, which are on the stack.
  void make_object() {
    const PickleValue* arguments = pop();
    const PickleValue* callee = pop();
    push(Kind::kObject).items = {callee, arguments};
  }
  void set_items(const std::vector<const PickleValue*>& items) {
    TESSERA_CHECK(items.size() % 2 == 0, "a pickle with a key without a value");
    PickleValue* target = top();
    for (size_t i = 0; i < items.size(); i += 2) {
      target->entries.emplace_back(items[i], items[i + 1]);
    }
  }
  void append(const std::vector<const PickleValue*>& items) {
    PickleValue* target = top();
    target->items.insert(target->items.end(), items.begin(), items.end());
  }
  void remember(uint64_t place) { memo_[place] = top(); }
  void recall(uint64_t place) {
    const auto found = memo_.find(place);
    TESSERA_CHECK(found != memo_.end(), "a pickle that recalls what it has not remembered");
    stack_.push_back(found->second);
  }
  // Integers of any length; what does not fit is kept as its bytes.
  void push_long(uint64_t bytes) {
    if (bytes > 8) return push_text(take(bytes));
    const uint64_t digits = number(bytes);
    const auto unused = static_cast<int>(64 - 8 * bytes);  // carry the sign up
    push_integer(bytes == 0 ? 0 : static_cast<int64_t>(digits << unused) >> unused);
  }
  void push_big_endian_real() {
    uint64_t bits = 0;
    for (const char c : take(8)) bits = bits << 8 | static_cast<unsigned char>(c);
    push(Kind::kReal).real = std::bit_cast<double>(bits);
  }

  void step(unsigned char code) {
    switch (code) {
      case 0x80:  // PROTO
        return (void)take(1);
      case 0x95:  // FRAME
        return (void)take(8);
      case '(':  // MARK
        return marks_.push_back(stack_.size());
      case '0':  // POP
        return (void)pop();
      case '1':  // POP_MARK
        return (void)pop_to_mark();
      case '2':  // DUP
        return stack_.push_back(top());
      // Plain values.
      case 'N':
        return (void)push(Kind::kNone);
      case 0x88:  // NEWTRUE
        return push_integer(1);
      case 0x89:  // NEWFALSE
        return push_integer(0);
      case 'J':  // BININT
        return push_integer(static_cast<int32_t>(number(4)));
      case 'K':  // BININT1
        return push_integer(static_cast<int64_t>(number(1)));
      case 'M':  // BININT2
        return push_integer(static_cast<int64_t>(number(2)));
      case 0x8a:  // LONG1
        return push_long(number(1));
      case 0x8b:  // LONG4
        return push_long(number(4));
      case 'G':  // BINFLOAT
        return push_big_endian_real();
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
      case 0x8c:  // SHORT_BINUNICODE
        return push_text(take(number(1)));
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
      case 'X':  // BINUNICODE
        return push_text(take(number(4)));
      case 0x8d:  // BINUNICODE8
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        return push_text(take(number(8)));
      // Containers.
      case ')':   // EMPTY_TUPLE
      case ']':   // EMPTY_LIST
      case 0x8f:  // EMPTY_SET
        return push_sequence({});
      case '}':  // EMPTY_DICT
        return (void)push(Kind::kDict);
      case 't':   // TUPLE
      case 'l':   // LIST
      case 0x91:  // FROZENSET
        return push_sequence(pop_to_mark());
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        return push_last(code - 0x84u);
      case 'a':  // APPEND
        return append({pop()});
      case 'e':   // APPENDS
      case 0x90:  // ADDITEMS
        return append(pop_to_mark());
      case 's': {  // SETITEM
        const PickleValue* value = pop();
        return set_items({pop(), value});
      }
      case 'u':  // SETITEMS
        return set_items(pop_to_mark());
      // Names and objects.
      case 'c': {  // GLOBAL
        const std::string module(line());
        push(Kind::kName).text = module + ' ' + std::string(line());
        return;
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue *name = pop(), *module = pop();
        TESSERA_CHECK(name->kind == Kind::kText && module->kind == Kind::kText,
                      "a pickle whose names are no text");
        named_ += name->text.size() + module->text.size();
        TESSERA_CHECK(named_ <= kMostNamed, "a pickle with more than {} letters of names",
                      kMostNamed);
        push(Kind::kName).text = module->text + ' ' + name->text;
        return;
      }
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        return make_object();
      case 0x92:  // NEWOBJ_EX: keywords come last
        (void)pop();
        return make_object();
      case 'b': {  // BUILD
        const PickleValue* state = pop();
        top()->state = state;
        return;
      }
      case 'Q': {  // BINPERSID
        const PickleValue* id = pop();
        push(Kind::kPersistent).items = {id};
        return;
      }
      // The memo.
      case 'q':  // BINPUT
        return remember(number(1));
      case 'r':  // LONG_BINPUT
        return remember(number(4));
      case 0x94:  // MEMOIZE
        return remember(memo_.size());
      case 'h':  // BINGET
        return recall(number(1));
      case 'j':  // LONG_BINGET
        return recall(number(4));
      default:
        throw Error(fmt::format("a pickle with the unknown instruction 0x{:02x}", code));
    }
  }

  std::string_view rest_;
  std::deque<PickleValue>& values_;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::map<uint64_t, PickleValue*> memo_;
  size_t named_ = 0;  // letters of the names that were put together of texts
};

}  // namespace

const PickleValue* PickleValue::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name->is_text(key)) return value;
  }
  return nullptr;
}

Pickle::Pickle(std::string_view bytes) {
  Machine machine(bytes, values_);
  root_ = machine.run();
  size_ = bytes.size() - machine.left();
}

}  // namespace tessera
