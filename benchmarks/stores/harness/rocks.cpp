// The rival: RocksDB from C++, asked for one read at a time over pipes, timed in here.
//
//   load  path=P data=FOLDER layout=A item_bytes=4 [tuning]   -> seconds, bytes
//   open  path=P layout=A item_bytes=4 rows=MOST [tuning]     -> handle
//   read HANDLE N USER [USER ...]                             -> cpu_ns wall_ns rows
//   check HANDLE N USER [USER ...]                            -> digest rows
//   memory HANDLE                                             -> bytes of indexes and filters in memory
//   write path=P data=FOLDER layout=A batch=1000 rows=N skip=0 sync=0 [tuning] -> see written.h
//   close HANDLE
//
// Options: tuning.h. Layouts: layouts.h. Data and outputs: rows.h. Writing: written.h. Driven by rocks.py.
#include <functional>
#include <iostream>

#include "layouts.h"
#include "tables.h"
#include "tuning.h"
#include "written.h"

using rocksdb::DB;

struct Open {
  std::unique_ptr<DB> db;
  std::function<size_t(const Users&, size_t)> read;
  std::function<uint64_t()> digest;
};

template <class Item, class Time>
static void write_user(Tables& to, char layout, const Source<Item>& from, size_t u, std::string& room) {
  using L = Layout<Item, Time>;
  using R = Rows<Item, Time>;
  size_t start = size_t(from.bounds[u]), end = size_t(from.bounds[u + 1]), rows = end - start;
  uint64_t user = from.users[u];
  char key[32], value[32];
  room.resize(rows * R::bytes + 16);
  if (layout == 'A') {
    // The tie is the place among behaviours of the same second: mostly 0, which compresses to nothing.
    std::vector<uint32_t> tie(rows, 0);
    for (size_t i = 1; i < rows; i++)
      if (from.time[start + i] == from.time[start + i - 1]) tie[i] = tie[i - 1] + 1;
    for (size_t i = rows; i-- > 0;) {
      size_t size = L::key_of(key, user, from.time[start + i], tie[i]);
      to.put(Slice(key, size), Slice(value, size_t(R::put_rest(value, from, start + i) - value)));
    }
    return;
  }
  char* at = room.data();
  for (size_t i = start; i < end; i++) at = R::put(at, from, i);
  if (layout == 'B') {
    to.put(Slice(key, size_t(store_big(key, user, L::U) - key)), Slice(room.data(), rows * R::bytes));
    return;
  }
  size_t chunks = (rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
  for (size_t turn = 0; turn < chunks; turn++) {
    size_t i = layout == 'C' ? chunks - 1 - turn : turn, first = i * CHUNK_ROWS;
    size_t size = L::chunk_key(key, user, layout == 'C' ? ~uint32_t(i) : uint32_t(i));
    to.put(Slice(key, size),
           Slice(room.data() + first * R::bytes, std::min(CHUNK_ROWS, rows - first) * R::bytes));
  }
  if (layout == 'H') {
    std::string head((2 + chunks) * 8, 0);
    char* to_head = store(head.data(), int64_t(rows));
    to_head = store(to_head, from.time[end - 1]);
    for (size_t i = 0; i < chunks; i++) to_head = store(to_head, from.time[start + i * CHUNK_ROWS]);
    to.put(Slice(key, L::chunk_key(key, user, HEAD)), Slice(head));
  }
}

template <class Item, class Time>
static void load_all(const Words& words) {
  Source<Item> from(words.at("data"));
  std::string path = words.at("path"), room;
  uint64_t begin = process_cpu_ns();
  Tables tables{path, tuned(words), nullptr, {}};
  // Users ascend: keys come in order.
  for (size_t u = 0; u < from.users.count; u++)
    write_user<Item, Time>(tables, words.at("layout")[0], from, u, room);
  uint64_t bytes = tables.hand_over();
  std::cout << "cpu_s=" << double(process_cpu_ns() - begin) * 1e-9 << " bytes=" << bytes << std::endl;
}

template <class Item, class Time>
static Open opened(const Words& words) {
  using L = Layout<Item, Time>;
  auto out = std::make_shared<Output<Item>>(size_t(words.number("rows", 1 << 17)));
  auto from = std::make_shared<Reader>();
  DB* made = nullptr;
  check(DB::OpenForReadOnly(tuned(words), words.at("path"), &made));
  from->db = made;
  from->ahead_row_bytes = words.number("ahead_row_bytes", 0);
  auto way = words.at("layout") == "A" ? L::behaviours
             : words.at("layout") == "B" ? L::blobs
             : words.at("layout") == "C" ? L::chunks : L::headed;
  auto read = [out, from, way](const Users& users, size_t n) {
    out->clear();
    way(*from, users, std::min(n, out->capacity / users.size()), *out);
    return out->all_rows();
  };
  return Open{std::unique_ptr<DB>(made), read, [out] { return out->digest(); }};
}

template <class F4, class F8, class W4, class W8>
static auto by_width(const Words& words, F4 narrow, F8 narrow8, W4 wide, W8 wide8) {
  bool is_wide = words.number("wide", 0) != 0, long_items = words.number("item_bytes", 4) == 8;
  return is_wide ? (long_items ? wide8(words) : wide(words)) : (long_items ? narrow8(words) : narrow(words));
}

#define BY_WIDTH(work, words)                                                                              \
  by_width(words, work<uint32_t, uint32_t>, work<uint64_t, uint32_t>, work<uint32_t, uint64_t>, \
           work<uint64_t, uint64_t>)

static void answer(const std::string& line, std::vector<Open>& databases) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "load") return BY_WIDTH(load_all, Words(words));
  if (verb == "write") return BY_WIDTH(written, Words(words));
  if (verb == "open") {
    databases.push_back(BY_WIDTH(opened, Words(words)));
    std::cout << databases.size() - 1 << std::endl;
    return;
  }
  size_t handle = 0;
  uint64_t n = 0;
  words >> handle >> n;
  Users users;
  for (uint64_t user; words >> user;) users.push_back(user);
  if (handle >= databases.size()) throw std::runtime_error("no such handle: " + line);
  Open& database = databases[handle];
  if (verb == "memory") {
    uint64_t bytes = 0;
    database.db->GetIntProperty("rocksdb.estimate-table-readers-mem", &bytes);
    std::cout << bytes << std::endl;
    return;
  }
  if (verb == "close") {
    database = Open();
    std::cout << "closed" << std::endl;
    return;
  }
  if (users.empty()) throw std::runtime_error("no users: " + line);
  uint64_t wall = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
  size_t rows = database.read(users, n);
  cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
  wall = now_ns(CLOCK_MONOTONIC) - wall;
  if (verb == "check")
    std::cout << database.digest() << ' ' << rows << std::endl;
  else
    std::cout << cpu << ' ' << wall << ' ' << rows << std::endl;
}

int main() {
  std::vector<Open> databases;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      answer(line, databases);
    } catch (const std::exception& error) {
      std::cout << "error " << error.what() << std::endl;
    }
  }
}
