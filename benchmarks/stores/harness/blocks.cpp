// SeqVault's packed blocks as values of other engines, RocksDB and LMDB: a library, for SeqVault's decoder to call.
//
//   key | user u64 | ~start u64 |    value | block |     big endian, so that a user's newest block comes first
//
// What is compared is how an engine finds a user's blocks and gives their bytes. The decoder verifies each block
// by its own hash, so that RocksDB's checksums are off for reads. LMDB gives bytes in its map; RocksDB too where
// it maps its files, otherwise from its block cache. Blocks that do not begin at a multiple of 8 are copied.
// Driven by blocks.py; options of RocksDB: tuning.h.
#include <lmdb.h>

#include "layouts.h"
#include "tables.h"
#include "tuning.h"

struct Engine {
  // Room for copies, kept between reads; blocks are copied one behind the other.
  std::vector<std::vector<uint64_t>> copies;
  virtual ~Engine() {}
  virtual void put(const Slice& key, const Slice& block) = 0;
  virtual uint64_t finish() = 0;
  // Calls `take` with the blocks from the key on until it has enough.
  virtual void newest(const Slice& key, uint64_t n) = 0;
  virtual void release() = 0;

  // (address, bytes) of each block, newest first; they stay until release().
  uint64_t* places;
  size_t most, count, left;
  void begin(uint64_t* into, size_t room, uint64_t n) { places = into, most = room, count = 0, left = n; }
  // Whether more are wanted.
  bool take(const char* at, size_t size) {
    if (count == most) throw std::runtime_error("more blocks than there is room for");
    // A block's header says how many rows it has: storage.md draws it.
    size_t rows = load<uint32_t>(at + 48);
    if (reinterpret_cast<uintptr_t>(at) % 8) {
      if (copies.size() <= count) copies.resize(count + 1);
      if (copies[count].size() * 8 < size) copies[count].resize(size / 8 + 1);
      memcpy(copies[count].data(), at, size);
      at = reinterpret_cast<const char*>(copies[count].data());
    }
    places[2 * count] = reinterpret_cast<uintptr_t>(at);
    places[2 * count + 1] = size;
    count++;
    left -= std::min(left, rows);
    return left > 0;
  }
};

struct InRocks : Engine {
  Tables tables;
  Reader from;
  std::unique_ptr<rocksdb::DB> db;
  std::unique_ptr<rocksdb::Iterator> rows;
  InRocks(const Words& words) : tables{words.at("path"), tuned(words), nullptr, {}} {
    if (words.number("fill", 0) != 0) return;
    rocksdb::DB* made = nullptr;
    check(rocksdb::DB::OpenForReadOnly(tables.options, words.at("path"), &made));
    db.reset(made);
    from.db = made;
    from.ahead_row_bytes = words.number("ahead_row_bytes", 0);
    from.options.verify_checksums = false;
    from.options.pin_data = true;
  }
  ~InRocks() { release(); }
  void put(const Slice& key, const Slice& block) override { tables.put(key, block); }
  uint64_t finish() override { return tables.hand_over(); }
  void newest(const Slice& key, uint64_t n) override {
    rows.reset(db->NewIterator(from.planned(n)));
    for (rows->Seek(key); rows->Valid(); rows->Next())
      if (!take(rows->value().data(), rows->value().size())) break;
    check(rows->status());
  }
  void release() override { rows.reset(); }
};

struct InLmdb : Engine {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi;
  MDB_cursor* cursor = nullptr;
  bool fill;
  static void ok(int code) {
    if (code) throw std::runtime_error(mdb_strerror(code));
  }
  InLmdb(const Words& words) : fill(words.number("fill", 0) != 0) {
    ok(mdb_env_create(&env));
    ok(mdb_env_set_mapsize(env, size_t(words.number("map_mb", 1 << 16)) << 20));
    ok(mdb_env_open(env, words.at("path").c_str(), fill ? MDB_NOSYNC : MDB_RDONLY | MDB_NOTLS, 0644));
    ok(mdb_txn_begin(env, nullptr, fill ? 0 : MDB_RDONLY, &txn));
    ok(mdb_dbi_open(txn, nullptr, 0, &dbi));
    if (fill) return;
    ok(mdb_cursor_open(txn, dbi, &cursor));
    mdb_txn_reset(txn);
  }
  ~InLmdb() {
    if (cursor) mdb_cursor_close(cursor);
    if (txn) mdb_txn_abort(txn);
    mdb_env_close(env);
  }
  void put(const Slice& key, const Slice& block) override {
    MDB_val k{key.size(), const_cast<char*>(key.data())}, v{block.size(), const_cast<char*>(block.data())};
    ok(mdb_put(txn, dbi, &k, &v, MDB_APPEND));
  }
  uint64_t finish() override {
    ok(mdb_txn_commit(txn));
    txn = nullptr;
    MDB_envinfo info;
    MDB_stat page;
    ok(mdb_env_info(env, &info));
    ok(mdb_env_stat(env, &page));
    return (info.me_last_pgno + 1) * page.ms_psize;
  }
  void newest(const Slice& key, uint64_t) override {
    ok(mdb_txn_renew(txn));
    ok(mdb_cursor_renew(txn, cursor));
    MDB_val k{key.size(), const_cast<char*>(key.data())}, v;
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; code == 0 && memcmp(k.mv_data, key.data(), 8) == 0; code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
      if (!take(static_cast<const char*>(v.mv_data), v.mv_size)) return;
    if (code != 0 && code != MDB_NOTFOUND) ok(code);
  }
  void release() override { mdb_txn_reset(txn); }
};

static thread_local std::string failure;

template <class Work>
static int64_t guarded(Work work) {
  try {
    return int64_t(work());
  } catch (const std::exception& error) {
    failure = error.what();
    return -1;
  }
}

static size_t key_of(char* key, uint64_t user, uint64_t start) {
  return size_t(store_big(store_big(key, user, 8), ~start, 8) - key);
}

extern "C" {
const char* blocks_failure() { return failure.c_str(); }

// engine: "rocksdb" or "lmdb"; words: name=value, with fill=1 to write. An address, or -1.
int64_t blocks_open(const char* engine, const char* words) {
  return guarded([&] {
    std::istringstream line(words);
    Words given(line);
    bool rocks = std::string(engine) == "rocksdb";
    Engine* made = rocks ? static_cast<Engine*>(new InRocks(given)) : new InLmdb(given);
    return reinterpret_cast<intptr_t>(made);
  });
}

// Users ascend, a user's blocks come newest first. 0, or -1.
int64_t blocks_put(int64_t engine, uint64_t user, uint64_t start, const char* block, uint64_t size) {
  return guarded([&] {
    char key[16];
    size_t bytes = key_of(key, user, start);
    reinterpret_cast<Engine*>(engine)->put(Slice(key, bytes), Slice(block, size));
    return 0;
  });
}

// Bytes on disk, or -1.
int64_t blocks_finish(int64_t engine) {
  return guarded([&] { return reinterpret_cast<Engine*>(engine)->finish(); });
}

// Blocks that hold a user's newest n rows: how many, or -1. `blocks_release` follows.
int64_t blocks_newest(int64_t engine, uint64_t user, uint64_t n, uint64_t places, uint64_t most) {
  return guarded([&] {
    char key[16];
    Slice from(key, key_of(key, user, ~uint64_t(0)));
    Engine& of = *reinterpret_cast<Engine*>(engine);
    of.begin(reinterpret_cast<uint64_t*>(places), most, n);
    of.newest(from, n);
    return of.count;
  });
}

void blocks_release(int64_t engine) { reinterpret_cast<Engine*>(engine)->release(); }
void blocks_close(int64_t engine) { delete reinterpret_cast<Engine*>(engine); }
}
