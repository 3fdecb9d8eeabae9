// The rival's three layouts in RocksDB, each the way an expert would write it. U is the width of a user in keys.
//
//   A  key | user U | ~time | ~tie |     value | row without its time |    one key a behaviour, newest first
//   B  key | user U |                    value | rows |                    one blob a user
//   C  key | user U | ~chunk u32 |       value | up to 256 rows |          newest chunk first
//   H  key | user U | chunk u32 |        value | up to 256 rows |          oldest first, and a head a user:
//      key | user U | ff ff ff ff |      value | rows i64 | last time | first time of each chunk |
//
// `narrow` keys (4-byte user and time) are the rival's; `wide` ones (8 bytes) are those of the Python store
// seqvault/lastn, so that its charge can be checked against this program on the very same data.
#pragma once
#include <rocksdb/db.h>

#include <memory>

#include "rows.h"

using rocksdb::Slice;
using Users = std::vector<uint64_t>;
constexpr size_t CHUNK_ROWS = 256;
constexpr uint32_t HEAD = 0xFFFFFFFFu;
constexpr uint64_t SIGN = uint64_t(1) << 63;

inline void check(const rocksdb::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

struct Reader {
  rocksdb::DB* db;
  rocksdb::ReadOptions options;
  // Bytes to read ahead a row asked for; 0 leaves it to RocksDB, which begins at 8 KB and doubles.
  double ahead_row_bytes = 0;
  rocksdb::ReadOptions planned(size_t n) const {
    rocksdb::ReadOptions chosen = options;
    chosen.prefix_same_as_start = true;
    // Nobody knows how long a whole history is before it is read: there RocksDB's doubling is best.
    if (n < 100000) chosen.readahead_size = size_t(ahead_row_bytes * double(n));
    if (chosen.readahead_size < 16384) chosen.readahead_size = 0;
    return chosen;
  }
};

template <class Item, class Time>
struct Layout {
  using R = Rows<Item, Time>;
  static constexpr int T = sizeof(Time);
  // Narrow keys have a 4-byte user and tie, wide ones 8.
  static constexpr int U = T;
  static constexpr int KEY = U + 2 * T;

  static Time turned(int64_t time) {
    return T == 4 ? Time(~uint32_t(time)) : Time(~(uint64_t(time) ^ SIGN));
  }
  static int64_t turned_back(uint64_t stored) {
    return T == 4 ? int64_t(uint32_t(~stored)) : int64_t(~stored ^ SIGN);
  }

  static size_t key_of(char* key, uint64_t user, int64_t time, uint64_t tie) {
    char* at = store_big(key, user, U);
    at = store_big(at, uint64_t(turned(time)), T);
    return size_t(store_big(at, ~tie, T) - key);
  }

  // One iterator for all users: RocksDB has no call that seeks several.
  static void behaviours(const Reader& from, const Users& users, size_t n, Output<Item>& out) {
    char key[8];
    std::unique_ptr<rocksdb::Iterator> rows(from.db->NewIterator(from.planned(n)));
    for (size_t i = users.size(); i-- > 0; out.next_user()) {
      store_big(key, users[i], U);
      size_t row = out.first, stop = n < row ? row - n : 0;
      for (rows->Seek(Slice(key, U)); rows->Valid() && row > stop; rows->Next()) {
        row--;
        out.time[row] = turned_back(load_big(rows->key().data() + U, T));
        R::take_rest(rows->value().data(), out, row);
      }
      check(rows->status());
      out.first = row;
    }
  }

  static void blobs(const Reader& from, const Users& users, size_t n, Output<Item>& out) {
    size_t count = users.size();
    if (count == 1) {
      char key[8];
      store_big(key, users[0], U);
      rocksdb::PinnableSlice value;
      auto found = from.db->Get(from.options, from.db->DefaultColumnFamily(), Slice(key, U), &value);
      if (found.IsNotFound()) return;
      check(found);
      return R::take_newest(value.data(), value.size() / R::bytes, n, out);
    }
    std::vector<char> keys(count * U);
    std::vector<Slice> asked(count);
    std::vector<rocksdb::PinnableSlice> values(count);
    std::vector<rocksdb::Status> states(count);
    for (size_t i = 0; i < count; i++) {
      store_big(&keys[i * U], users[i], U);
      asked[i] = Slice(&keys[i * U], U);
    }
    get(from, asked, values, states, false);
    for (size_t i = count; i-- > 0; out.next_user()) {
      if (states[i].IsNotFound()) continue;
      check(states[i]);
      R::take_newest(values[i].data(), values[i].size() / R::bytes, n, out);
    }
  }

  static void chunks(const Reader& from, const Users& users, size_t n, Output<Item>& out) {
    char key[8];
    std::unique_ptr<rocksdb::Iterator> rows(from.db->NewIterator(from.planned(n)));
    for (size_t i = users.size(); i-- > 0; out.next_user()) {
      store_big(key, users[i], U);
      for (rows->Seek(Slice(key, U)); rows->Valid() && out.rows() < n; rows->Next())
        R::take_newest(rows->value().data(), rows->value().size() / R::bytes, n - out.rows(), out);
      check(rows->status());
    }
  }

  static size_t chunk_key(char* key, uint64_t user, uint32_t chunk) {
    return size_t(store_big(store_big(key, user, U), chunk, 4) - key);
  }

  // Heads of all users, then chunks of all users: two calls whatever their number.
  static void headed(const Reader& from, const Users& users, size_t n, Output<Item>& out) {
    size_t count = users.size(), all = 0;
    std::vector<char> keys(count * 12);
    std::vector<Slice> asked(count);
    std::vector<rocksdb::PinnableSlice> heads(count);
    std::vector<rocksdb::Status> states(count);
    for (size_t i = 0; i < count; i++)
      asked[i] = Slice(&keys[i * 12], chunk_key(&keys[i * 12], users[i], HEAD));
    get(from, asked, heads, states, false);
    std::vector<std::pair<size_t, size_t>> wanted(count);
    for (size_t i = 0; i < count; i++) {
      if (states[i].IsNotFound()) continue;
      check(states[i]);
      size_t rows = load<uint64_t>(heads[i].data()), first = (rows - (n < rows ? n : rows)) / CHUNK_ROWS;
      wanted[i] = {first, (rows + CHUNK_ROWS - 1) / CHUNK_ROWS};
      all += wanted[i].second - first;
    }
    std::vector<rocksdb::PinnableSlice> values(all);
    keys.resize(all * 12);
    asked.resize(all);
    states.assign(all, rocksdb::Status());
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
      for (size_t chunk = wanted[i].first; chunk < wanted[i].second; chunk++, at++)
        asked[at] = Slice(&keys[at * 12], chunk_key(&keys[at * 12], users[i], uint32_t(chunk)));
    get(from, asked, values, states, count == 1);
    for (size_t i = count; i-- > 0; out.next_user())
      for (size_t chunk = wanted[i].second; chunk-- > wanted[i].first;) {
        check(states[--at]);
        R::take_newest(values[at].data(), values[at].size() / R::bytes, n - out.rows(), out);
      }
  }

  // One MultiGet; Get for one key, which is quicker. RocksDB sorts keys that are not sorted.
  static void get(const Reader& from, const std::vector<Slice>& keys, std::vector<rocksdb::PinnableSlice>& to,
                  std::vector<rocksdb::Status>& states, bool sorted) {
    auto* family = from.db->DefaultColumnFamily();
    if (keys.size() == 1)
      states[0] = from.db->Get(from.options, family, keys[0], &to[0]);
    else
      from.db->MultiGet(from.options, family, keys.size(), keys.data(), to.data(), states.data(), sorted);
  }
};
