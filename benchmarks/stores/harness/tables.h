// RocksDB filled at once: sorted tables written straight and handed over, the state a full compaction leaves.
#pragma once
#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>

#include <filesystem>
#include <memory>

#include "layouts.h"

inline uint64_t bytes_of(const std::string& path) {
  uint64_t sum = 0;
  for (auto& file : std::filesystem::directory_iterator(path))
    if (file.path().extension() == ".sst") sum += file.file_size();
  return sum;
}

struct Tables {
  std::string folder;
  rocksdb::Options options;
  std::unique_ptr<rocksdb::SstFileWriter> writer;
  std::vector<std::string> paths;
  // Keys ascend.
  void put(const Slice& key, const Slice& value) {
    if (writer && writer->FileSize() > (64u << 20)) finish();
    if (!writer) {
      writer.reset(new rocksdb::SstFileWriter(rocksdb::EnvOptions(), options));
      paths.push_back(folder + "-" + std::to_string(paths.size()) + ".sst");
      check(writer->Open(paths.back()));
    }
    check(writer->Put(key, value));
  }
  void finish() {
    if (writer) check(writer->Finish());
    writer.reset();
  }
  // Everything that was put becomes a database in `folder`; its bytes.
  uint64_t hand_over() {
    finish();
    rocksdb::DB* opened = nullptr;
    check(rocksdb::DB::Open(options, folder, &opened));
    std::unique_ptr<rocksdb::DB> db(opened);
    rocksdb::IngestExternalFileOptions moved;
    moved.move_files = true;
    check(db->IngestExternalFile(paths, moved));
    db.reset();
    return bytes_of(folder);
  }
};
