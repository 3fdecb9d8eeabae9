// Writing in the order of arrival, `batch` behaviours a write, the log record written and synced if asked.
//
// A puts a key a behaviour. B and C append with a merge operator, which is how an expert avoids reading before
// writing: a batch's behaviours of one user are one merge of a blob, or one for each chunk that they fall into. C's
// writer knows how many behaviours each user has: it keeps 8 bytes a user in memory.
//
// From the first `skip` behaviours on everything is counted, from settled to settled: flushed, and nothing left
// to compact. Settling takes its own CPU and bytes, which are counted at the end and not at the beginning.
#pragma once
#include <rocksdb/merge_operator.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <thread>
#include <unordered_map>

#include "layouts.h"
#include "tables.h"
#include "tuning.h"

inline uint64_t process_cpu_ns() { return now_ns(CLOCK_PROCESS_CPUTIME_ID); }

// Bytes this process has passed to write calls.
inline uint64_t bytes_passed() {
  std::ifstream from("/proc/self/io");
  std::string name;
  for (uint64_t value; from >> name >> value;)
    if (name == "wchar:") return value;
  throw std::runtime_error("/proc/self/io has no wchar");
}

// Asks until nothing has run for a while: this release has no call to wait with, and says that a universal
// compaction is pending as long as there are as many runs as would begin one, whether they fit together or not.
inline void settle(rocksdb::DB* db) {
  check(db->Flush(rocksdb::FlushOptions()));
  for (int idle = 0; idle < 10;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    uint64_t busy = 0;
    for (auto name : {"rocksdb.num-running-compactions", "rocksdb.mem-table-flush-pending",
                      "rocksdb.num-running-flushes"}) {
      uint64_t value = 0;
      db->GetIntProperty(name, &value);
      busy += value;
    }
    idle = busy ? 0 : idle + 1;
  }
}

template <class Item, class Time>
struct Batch {
  using L = Layout<Item, Time>;
  using R = Rows<Item, Time>;
  char layout;
  const Source<Item>& from;
  const Values<uint64_t>& user;
  rocksdb::WriteBatch group;
  std::vector<size_t> order;
  std::vector<char> packed;
  std::unordered_map<uint64_t, uint64_t> written;

  Batch(char layout, const Source<Item>& from, const Values<uint64_t>& user)
      : layout(layout), from(from), user(user) {}

  void fill(size_t at, size_t end) {
    group.Clear();
    char key[32], value[32];
    if (layout == 'A') {
      // The tie is the writer's own counter: it needs to know nothing of what is stored.
      for (size_t i = at; i < end; i++)
        check(group.Put(Slice(key, L::key_of(key, user[i], from.time[i], i)),
                        Slice(value, size_t(R::put_rest(value, from, i) - value))));
      return;
    }
    order.resize(end - at);
    for (size_t i = at; i < end; i++) order[i - at] = i;
    std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) { return user[a] < user[b]; });
    packed.resize((end - at) * R::bytes + 16);
    for (size_t i = 0; i < order.size();) i = append(i);
  }

  // One merge of the rows from i on that go under one key; where the next begin.
  size_t append(size_t i) {
    char key[16], *to = packed.data();
    uint64_t of = user[order[i]];
    size_t most = order.size(), size = size_t(store_big(key, of, L::U) - key);
    if (layout == 'C') {
      uint64_t& count = written[of];
      size = L::chunk_key(key, of, ~uint32_t(count / CHUNK_ROWS));
      most = std::min(most, i + CHUNK_ROWS - count % CHUNK_ROWS);
      size_t first = i;
      for (; i < most && user[order[i]] == of; i++) to = R::put(to, from, order[i]);
      count += i - first;
    } else {
      for (; i < most && user[order[i]] == of; i++) to = R::put(to, from, order[i]);
    }
    check(group.Merge(Slice(key, size), Slice(packed.data(), size_t(to - packed.data()))));
    return i;
  }
};

template <class Item, class Time>
static void written(const Words& words) {
  Source<Item> from(words.at("data"));
  Values<uint64_t> user(words.at("data") + "/user");
  rocksdb::DB* made = nullptr;
  check(rocksdb::DB::Open(tuned(words), words.at("path"), &made));
  std::unique_ptr<rocksdb::DB> db(made);
  rocksdb::WriteOptions options;
  options.sync = words.number("sync", 0) != 0;
  size_t rows = std::min(size_t(words.number("rows", 1e18)), from.time.count);
  size_t batch = size_t(words.number("batch", 1000)), skip = size_t(words.number("skip", 0));
  Batch<Item, Time> group(words.at("layout")[0], from, user);
  uint64_t cpu = process_cpu_ns(), wall = now_ns(CLOCK_MONOTONIC), passed = bytes_passed();
  std::vector<uint64_t> took;
  for (size_t at = 0; at < rows; at += batch) {
    if (skip && at == skip) {
      settle(db.get());
      took.clear();
      cpu = process_cpu_ns(), wall = now_ns(CLOCK_MONOTONIC), passed = bytes_passed();
    }
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    group.fill(at, std::min(rows, at + batch));
    check(db->Write(options, &group.group));
    took.push_back(now_ns(CLOCK_MONOTONIC) - start);
  }
  uint64_t accepted = process_cpu_ns(), accepted_wall = now_ns(CLOCK_MONOTONIC);
  settle(db.get());
  uint64_t settled = process_cpu_ns(), bytes = bytes_of(words.at("path"));
  std::sort(took.begin(), took.end());
  std::cout << "rows=" << rows - skip << " cpu_ns=" << accepted - cpu << " settled_cpu_ns=" << settled - cpu
            << " wall_ns=" << accepted_wall - wall << " written=" << bytes_passed() - passed
            << " p50_ns=" << took[took.size() / 2] << " p99_ns=" << took[took.size() * 99 / 100]
            << " bytes=" << bytes << std::endl;
}
