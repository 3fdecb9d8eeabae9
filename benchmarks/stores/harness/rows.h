// Rows and columns as the rival sees them: behaviours of five columns, packed rows in values, plain columns out.
//
//   row   | time 4 or 8 | item 4 or 8 | category 2 | action 1 | dwell 2 |     little endian, 13 to 21 bytes
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

inline uint64_t now_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

// A file of fixed-width little-endian values, mapped.
template <class T>
struct Values {
  const T* at = nullptr;
  size_t count = 0;
  explicit Values(const std::string& path) {
    int fd = open(path.c_str(), O_RDONLY);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) throw std::runtime_error("cannot read " + path);
    count = size_t(info.st_size) / sizeof(T);
    if (count) at = static_cast<const T*>(mmap(nullptr, count * sizeof(T), PROT_READ, MAP_PRIVATE, fd, 0));
    if (at == MAP_FAILED) throw std::runtime_error("cannot map " + path);
    close(fd);
  }
  const T& operator[](size_t i) const { return at[i]; }
};

// The histories Python wrote: one file a column, user after user, each sorted by time.
template <class Item>
struct Source {
  Values<uint64_t> users;
  Values<int64_t> bounds, time;
  Values<Item> item;
  Values<uint16_t> category, dwell;
  Values<uint8_t> action;
  explicit Source(const std::string& folder)
      : users(folder + "/users"), bounds(folder + "/bounds"), time(folder + "/time_s"),
        item(folder + "/item_id"), category(folder + "/category"), dwell(folder + "/dwell_s"),
        action(folder + "/action") {}
};

// What a read returns: one array a column, filled from its end, so that rows met newest first come out oldest
// first without a second pass. Buffers are kept between reads. A read of several users begins with the last.
template <class Item>
struct Output {
  size_t capacity, first, behind;
  std::vector<int64_t> time;
  std::vector<Item> item;
  std::vector<uint16_t> category, dwell;
  std::vector<uint8_t> action;
  explicit Output(size_t rows)
      : capacity(rows), first(rows), behind(rows), time(rows), item(rows), category(rows), dwell(rows),
        action(rows) {}
  void clear() { first = behind = capacity; }
  // What follows are the rows of the user before.
  void next_user() { behind = first; }
  // Of the user at hand.
  size_t rows() const { return behind - first; }
  size_t all_rows() const { return capacity - first; }
  uint64_t digest() const {
    uint64_t sum = 0;
    for (size_t i = first; i < capacity; i++)
      sum += (2 * uint64_t(i - first) + 1) *
             (uint64_t(time[i]) * 0x9E3779B97F4A7C15u + uint64_t(item[i]) * 0xC2B2AE3D27D4EB4Fu +
              category[i] * 0x165667B19E3779F9u + action[i] * 0x85EBCA77C2B2AE63u +
              dwell[i] * 0x27D4EB2F165667C5u);
    return sum;
  }
};

template <class T>
inline T load(const char* at) {
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
inline char* store(char* at, T value) {
  memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

// Big endian, `bytes` wide: keys sort as their numbers.
inline char* store_big(char* at, uint64_t value, int bytes) {
  uint64_t turned = __builtin_bswap64(value) >> (8 * (8 - bytes));
  memcpy(at, &turned, size_t(bytes));
  return at + bytes;
}

inline uint64_t load_big(const char* at, int bytes) {
  uint64_t value = 0;
  memcpy(&value, at, size_t(bytes));
  return __builtin_bswap64(value) >> (8 * (8 - bytes));
}

// Packed rows: with their time (blobs, chunks) or without (it is in the key).
template <class Item, class Time>
struct Rows {
  static constexpr size_t rest = sizeof(Item) + 5;
  static constexpr size_t bytes = sizeof(Time) + rest;
  static char* put_rest(char* at, const Source<Item>& from, size_t i) {
    at = store(at, from.item[i]);
    at = store(at, from.category[i]);
    at = store(at, from.action[i]);
    return store(at, from.dwell[i]);
  }
  static char* put(char* at, const Source<Item>& from, size_t i) {
    return put_rest(store(at, Time(from.time[i])), from, i);
  }
  static void take_rest(const char* at, Output<Item>& out, size_t row) {
    out.item[row] = load<Item>(at);
    out.category[row] = load<uint16_t>(at + sizeof(Item));
    out.action[row] = uint8_t(at[sizeof(Item) + 2]);
    out.dwell[row] = load<uint16_t>(at + sizeof(Item) + 3);
  }
  // The newest of `count` packed rows, as many as are still wanted, in front of what is there.
  static void take_newest(const char* rows, size_t count, size_t wanted, Output<Item>& out) {
    size_t take = count < wanted ? count : wanted;
    const char* at = rows + (count - take) * bytes;
    size_t row = out.first -= take;
    // Column after column: the stores of each loop run in order.
    for (size_t i = 0; i < take; i++) out.time[row + i] = int64_t(load<Time>(at + i * bytes));
    at += sizeof(Time);
    for (size_t i = 0; i < take; i++) out.item[row + i] = load<Item>(at + i * bytes);
    at += sizeof(Item);
    for (size_t i = 0; i < take; i++) out.category[row + i] = load<uint16_t>(at + i * bytes);
    at += 2;
    for (size_t i = 0; i < take; i++) out.action[row + i] = uint8_t(at[i * bytes]);
    at += 1;
    for (size_t i = 0; i < take; i++) out.dwell[row + i] = load<uint16_t>(at + i * bytes);
  }
};
