// RocksDB's options from `name=value` words, with an expert's settings for what is not named.
#pragma once
#include <rocksdb/cache.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include <map>
#include <sstream>

#include "rows.h"

struct Words : std::map<std::string, std::string> {
  explicit Words(std::istream& line) {
    for (std::string word; line >> word;) {
      size_t sign = word.find('=');
      if (sign == std::string::npos) throw std::runtime_error("expected name=value, found " + word);
      (*this)[word.substr(0, sign)] = word.substr(sign + 1);
    }
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    auto found = find(name);
    return found == end() ? otherwise : found->second;
  }
  double number(const std::string& name, double otherwise) const {
    auto found = find(name);
    return found == end() ? otherwise : std::stod(found->second);
  }
};

inline rocksdb::CompressionType compression(const std::string& name) {
  if (name == "none") return rocksdb::kNoCompression;
  if (name == "lz4") return rocksdb::kLZ4Compression;
  if (name == "zstd") return rocksdb::kZSTD;
  throw std::runtime_error("compression " + name + ": expected zstd, lz4 or none");
}

// Rows appended to what a key holds: blobs and chunks are written so.
struct AppendRows : rocksdb::AssociativeMergeOperator {
  bool Merge(const rocksdb::Slice&, const rocksdb::Slice* held, const rocksdb::Slice& rows, std::string* to,
             rocksdb::Logger*) const override {
    to->clear();
    if (held) to->append(held->data(), held->size());
    to->append(rows.data(), rows.size());
    return true;
  }
  const char* Name() const override { return "AppendRows"; }
};

// block_kb, compression, level, dictionary_kb, restart, cache_mb, direct, prefix, write_buffer_mb, level_base_mb,
// universal, upper, mmap
inline rocksdb::Options tuned(const Words& words) {
  rocksdb::BlockBasedTableOptions table;
  table.block_size = size_t(words.number("block_kb", 16) * 1024);
  table.block_restart_interval = int(words.number("restart", 16));
  table.block_cache = rocksdb::NewLRUCache(size_t(words.number("cache_mb", 8) * (1 << 20)), 0);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.data_block_index_type = words.number("hash_index", 0) != 0
                                    ? rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash
                                    : rocksdb::BlockBasedTableOptions::kDataBlockBinarySearch;
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = compression(words.text("compression", "zstd"));
  options.compression_opts.level = int(words.number("level", 3));
  if (options.compression != rocksdb::kZSTD) options.compression_opts.level = 32767;
  options.compression_opts.max_dict_bytes = uint32_t(words.number("dictionary_kb", 0) * 1024);
  options.compression_opts.zstd_max_train_bytes = 100 * options.compression_opts.max_dict_bytes;
  options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(size_t(words.number("prefix", 4))));
  options.max_open_files = -1;
  options.use_direct_reads = words.number("direct", 0) != 0;
  options.allow_mmap_reads = words.number("mmap", 0) != 0;
  options.write_buffer_size = size_t(words.number("write_buffer_mb", 64) * (1 << 20));
  options.level_compaction_dynamic_level_bytes = true;
  options.max_bytes_for_level_base = uint64_t(words.number("level_base_mb", 256) * (1 << 20));
  if (words.number("universal", 0) != 0) options.compaction_style = rocksdb::kCompactionStyleUniversal;
  options.merge_operator = std::make_shared<AppendRows>();
  options.max_background_jobs = 2;
  options.stats_dump_period_sec = 0;
  options.memtable_prefix_bloom_size_ratio = 0.1;
  // Upper levels are rewritten soon: LZ4 or nothing there, ZSTD at the bottom, where nearly all bytes lie.
  std::string upper = words.text("upper", "");
  if (!upper.empty()) {
    options.bottommost_compression = options.compression;
    options.bottommost_compression_opts = options.compression_opts;
    options.bottommost_compression_opts.enabled = true;
    options.compression = compression(upper);
    options.compression_opts = rocksdb::CompressionOptions();
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}
